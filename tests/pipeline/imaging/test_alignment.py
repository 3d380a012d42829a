"""A part that was moved by a known amount is brought back, its map too; what cannot be aligned is left and says so."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.feature_store import FeatureKey, FeatureStore
from pipeline.imaging.alignment import Alignment, AlignMode, Fit, alignment_of
from pipeline.imaging.images import DecodedImage, PreprocessSpec, decode_frame, read_image, read_native
from pipeline.imaging.part_pose import part_of
from pipeline.imaging.turns import circles_around, turn_between
from pipeline.regions import MarkedMap

HEIGHT, WIDTH = 300, 400
CORNERS = np.array([(140, 110), (300, 110), (300, 200), (220, 200), (140, 170)], np.float64)
"""Of a lopsided part: no turn of it looks like another."""
SPOT = (190.0, 140.0)


def part(turn: float = 0, scale: float = 1, shift: tuple[float, float] = (0, 0), noise: int = 0) -> NDArray[np.uint8]:
    image = np.full((HEIGHT, WIDTH, 3), (30, 34, 30), np.uint8)
    cv2.fillPoly(image, [np.rint(moved(CORNERS, turn, scale, shift)).astype(np.int32)], (180, 150, 140))
    x, y = moved(np.array([SPOT]), turn, scale, shift)[0]
    cv2.circle(image, (round(x), round(y)), round(12 * scale), (60, 60, 200), -1)
    return cv2.add(image, np.random.default_rng(noise).integers(0, 6, image.shape, np.uint8)).astype(np.uint8)


def moved(points: NDArray[np.float64], turn: float, scale: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), turn, scale)
    return points @ matrix[:, :2].T + matrix[:, 2] + shift


def fit_of(mode: AlignMode = AlignMode.SIMILARITY) -> Fit:
    fit = alignment_of([part(noise=seed) for seed in range(4)], mode)
    assert fit is not None
    return fit


@pytest.fixture(scope="module")
def alignment() -> Alignment:
    return fit_of().alignment


@pytest.mark.parametrize(
    ("turn", "scale", "shift"),
    [(0, 1, (20, -15)), (12, 1, (0, 0)), (0, 0.9, (0, 0)), (-15, 1.1, (-18, 12)), (90, 1, (0, 0)), (171, 0.95, (5, 9))],
)
def test_places_in_the_aligned_image_are_those_of_the_moved_one(
    alignment: Alignment, turn: float, scale: float, shift: tuple[float, float]
) -> None:
    placement = alignment.place(part(turn, scale, shift, noise=9))
    assert placement.problem is None
    assert placement.correlation > 0.97
    assert placement.scale == pytest.approx(scale, abs=0.02)
    off = np.linalg.norm(placement.points(CORNERS) - moved(CORNERS, turn, scale, shift), axis=1)
    assert off.max() < 3, "of 400 pixels"


def test_rigid_leaves_the_size(alignment: Alignment) -> None:
    placement = fit_of(AlignMode.RIGID).alignment.place(part(20, 1.1))
    assert placement.scale == pytest.approx(1)
    larger = part_of(placement.aligned(part(20, 1.1)))
    assert larger is not None
    assert larger.pose.side == pytest.approx(1.1 * alignment.pose.side, rel=0.02)


def test_an_image_squashed_to_the_models_square_is_turned_in_its_own_proportions(alignment: Alignment) -> None:
    spec = PreprocessSpec(height=128, width=128, alignment=alignment)
    plain = decode_frame(part()[..., ::-1], spec).pixels
    turned = decode_frame(np.ascontiguousarray(part(40, 1, (10, 0))[..., ::-1]), spec)
    pixels, placement = turned.pixels, turned.placement
    assert placement is not None
    assert placement.size == (HEIGHT, WIDTH)
    differs = np.abs(pixels.astype(int) - plain).max(2) > 40
    assert differs.mean() < 0.01, "but for its outline"


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), "not aligned: no part of about the reference's size stands out"),
        (part(shift=(-200, 0)), "not aligned: the part is cut off at the image's edge"),
        (part(scale=0.4), "not aligned: no part of about the reference's size stands out"),
        (cv2.circle(part() * 0 + 30, (200, 150), 70, (180, 150, 140), -1), "not aligned: it correlates 0."),
    ],
    ids=["nothing", "cut off", "too small", "another part"],
)
def test_what_cannot_be_aligned_is_left_as_it_was_and_says_so(
    alignment: Alignment, image: NDArray[np.uint8], problem: str
) -> None:
    strict = replace(alignment, least=0.97)
    placement = strict.place(image)
    assert placement.problem is not None
    assert placement.problem.startswith(problem)
    assert placement.aligned(image) is image
    seen = replace(PreprocessSpec(height=96, width=96), alignment=strict)
    frame = np.ascontiguousarray(image[..., ::-1])
    as_it_is = decode_frame(frame, replace(seen, alignment=None)).pixels
    assert np.abs(decode_frame(frame, seen).pixels.astype(int) - as_it_is).max() <= 1
    heat = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert (placement.upright(heat) == heat).all()


def test_a_turn_that_cannot_be_told_is_told(alignment: Alignment) -> None:
    """A square plate with a mark in a corner is turned for sure, one without the mark by any quarter."""
    marked, plain = square(mark=True), square(mark=False)
    fit = alignment_of([marked, square(mark=True, noise=1)], AlignMode.RIGID)
    assert fit is not None
    assert fit.alignment.turns
    assert fit.alignment.place(turned_by(marked, 50)).problem is None
    problem = fit.alignment.place(turned_by(plain, 50)).problem
    assert problem is not None
    assert re.fullmatch(r"not aligned: turned by -?\d+ or -?\d+ degrees it fits the reference about as well", problem)


@pytest.mark.parametrize("kind", ["square", "oval"])
def test_turns_in_which_a_part_looks_the_same_need_not_be_told_apart(kind: str) -> None:
    """The smallest of them is undone."""
    looks = [
        turned_by(square(mark=False, noise=seed) if kind == "square" else oval(seed), 40 * seed) for seed in range(4)
    ]
    fit = alignment_of(looks, AlignMode.RIGID)
    assert fit is not None
    assert fit.alignment.turns
    placement = fit.alignment.place(turned_by(looks[0], 140))
    assert placement.problem is None
    assert placement.correlation > 0.98
    turn = np.degrees(np.arctan2(placement.matrix[1, 0], placement.matrix[0, 0]))
    assert abs(turn) <= (46 if kind == "square" else 91)


def test_of_round_parts_place_and_size_are_undone_and_a_print_that_lies_anyhow_makes_them_turn() -> None:
    """The light makes them uneven, too: from where it comes from, whatever lies below."""
    lit = [round_part(seed, light=True) for seed in range(4)]
    fit = alignment_of(lit, AlignMode.SIMILARITY)
    assert fit is not None
    assert not fit.alignment.turns
    assert fit.alignment.in_words.startswith("aligned in place and size to a part")
    moving = np.array([[0.9, 0, 50], [0, 0.9, 5]], np.float64)
    image = cv2.warpAffine(lit[0], moving, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    placement = fit.alignment.place(image)
    assert placement.problem is None
    assert placement.matrix[:, :2] == pytest.approx(np.eye(2) * 0.9, abs=0.01)
    assert placement.points(np.array([[200.0, 150.0]]))[0] == pytest.approx((230, 140), abs=1.5)

    printed = alignment_of([turned_by(round_part(seed, light=False), 80 * seed) for seed in range(4)], AlignMode.RIGID)
    assert printed is not None
    assert printed.alignment.turns


def test_the_turn_of_what_is_the_same_all_around_is_not_sure() -> None:
    even = circles_around(np.full((64, 64), 90, np.float32), (32, 32), 20)
    assert even.share == 0
    assert turn_between(even, even).certainty == 0


def round_part(noise: int, *, light: bool) -> NDArray[np.uint8]:
    image = cv2.circle(np.full((HEIGHT, WIDTH, 3), 30, np.uint8), (200, 150), 70, (180, 170, 160), -1)
    if light:
        image = np.rint(image * np.linspace(0.95, 1.05, WIDTH)[:, None]).astype(np.uint8)
    else:
        image = cv2.putText(image, "F4", (168, 168), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (130, 120, 110), 6)
    return noisy(image, noise)


def oval(noise: int) -> NDArray[np.uint8]:
    return noisy(
        cv2.ellipse(np.full((HEIGHT, WIDTH, 3), 30, np.uint8), (200, 150), (110, 55), 0, 0, 360, (180,) * 3, -1), noise
    )


@pytest.mark.parametrize("changed", ["a piece is missing", "something lies at its edge"])
def test_another_outline_is_told(alignment: Alignment, changed: str) -> None:
    """Its centre and area, by which it is placed, are not those of the whole part."""
    colour, place = ((30, 34, 30), (300, 200)) if changed == "a piece is missing" else ((180, 150, 140), (300, 120))
    image = cv2.circle(part(noise=3), place, 38, colour, -1).astype(np.uint8)
    problem = alignment.place(image).problem
    assert problem is not None
    assert problem.startswith("not aligned: its outline overlaps the reference's by 0.")
    assert problem.endswith("is needed: a piece is missing, or something lies at its edge")
    before = replace(alignment, outline=None, least_overlap=0.0, deepest_hollow=None)
    assert before.place(image).problem is None, "as in bundles of before"


def test_a_missing_piece_is_told_where_no_outline_is_like_another() -> None:
    """Of ovals of all proportions: their overlap says nothing, a hollow does, unless they have one as deep."""
    support = [pebble(sides) for sides in ((110, 55), (95, 65), (100, 70), (90, 60))]
    fit = alignment_of(support, AlignMode.SIMILARITY)
    assert fit is not None
    whole, chipped = pebble((105, 62)), cv2.circle(pebble((105, 62)), (230, 95), 24, (30,) * 3, -1).astype(np.uint8)
    assert fit.alignment.place(whole).problem is None
    problem = fit.alignment.place(chipped).problem
    assert problem is not None
    told = r"its outline has a hollow of (0\.\d\d) of its size, and at most (0\.\d\d) is expected: a piece is missing"
    assert (found := re.search(told, problem))
    assert float(found[1]) > float(found[2])
    assert replace(fit.alignment, deepest_hollow=None).place(chipped).problem is None, "as in bundles of before"

    notched = [cv2.circle(image, (230, 95), 24, (30,) * 3, -1).astype(np.uint8) for image in support]
    fit = alignment_of(notched, AlignMode.SIMILARITY)
    assert fit is not None
    assert fit.alignment.place(chipped).problem is None


def pebble(sides: tuple[int, int]) -> NDArray[np.uint8]:
    image = cv2.ellipse(np.full((HEIGHT, WIDTH, 3), 30, np.uint8), (200, 150), sides, 0, 0, 360, (180,) * 3, -1)
    return noisy(cv2.circle(image, (150, 150), 14, (90, 60, 60), -1), sum(sides))


def test_how_deep_a_hollow_is() -> None:
    """A round bite is its radius deep; a convex part has no hollow, nor one that goes on beyond the image."""
    plain, beyond = plate(120), plate(320)
    bitten = cv2.circle(plain.copy(), (200, 90), 40, (30,) * 3, -1).astype(np.uint8)
    found = [part_of(image) for image in (plain, beyond, bitten)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[2] is not None
    assert found[0].hollow == found[1].hollow == 0
    assert found[2].hollow == pytest.approx(40 / WIDTH / found[2].pose.side, abs=0.05), "in a small, smooth copy"


def plate(left: int) -> NDArray[np.uint8]:
    background = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    return cv2.rectangle(background, (left, 90), (left + 160, 210), (180,) * 3, -1).astype(np.uint8)


def test_a_round_part_of_a_bundle_of_before_is_not_turned_and_none_of_its_images_is_refused() -> None:
    """Such a bundle does not say that the part is round: its turn would be read from noise, and could not be told."""
    fit = alignment_of([disc(seed) for seed in range(4)], AlignMode.SIMILARITY)
    assert fit is not None
    before = replace(fit.alignment, turns=True, outline=None, least_overlap=0.0)
    placed = [before.place(disc(seed)) for seed in range(10, 30)]
    assert [placement.problem for placement in placed] == [None] * 20
    assert max(abs(placement.matrix[0, 1]) for placement in placed) == 0
    assert before.undone == "place and size"


def disc(seed: int) -> NDArray[np.uint8]:
    centre = 200 + 3 * (seed % 7), 150 - 2 * (seed % 5)
    return noisy(cv2.circle(np.full((HEIGHT, WIDTH, 3), 30, np.uint8), centre, 70, (180,) * 3, -1), seed)


def square(*, mark: bool, noise: int = 0) -> NDArray[np.uint8]:
    image = cv2.rectangle(np.full((HEIGHT, WIDTH, 3), 30, np.uint8), (130, 80), (270, 220), (180, 150, 140), -1)
    if mark:
        image = cv2.circle(image, (160, 110), 20, (90, 60, 60), -1)
    return noisy(image, noise)


def noisy(image: cv2.typing.MatLike, noise: int) -> NDArray[np.uint8]:
    return cv2.add(image, np.random.default_rng(noise).integers(0, 6, image.shape, np.uint8)).astype(np.uint8)


def turned_by(image: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)


def test_images_without_one_part_are_not_aligned() -> None:
    rng = np.random.default_rng(0)
    textures = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(4)]
    assert alignment_of(textures, AlignMode.RIGID) is None
    assert alignment_of([part(), textures[0]], AlignMode.RIGID) is None


def test_a_map_and_its_regions_come_back_to_the_image_as_it_was_taken(alignment: Alignment) -> None:
    """A spot marked where it is in the aligned image is told where it is in the moved one, in its pixels."""
    move = (25.0, 0.9, (14.0, -8.0))
    placement = alignment.place(part(*move))
    heat = np.zeros((48, 48), np.float32)  # over the image, squashed
    heat[round(SPOT[1] / HEIGHT * 48 - 0.5), round(SPOT[0] / WIDTH * 48 - 0.5)] = 1
    heat = cv2.GaussianBlur(heat, (0, 0), 2).astype(np.float32)
    x, y = moved(np.array([SPOT]), *move)[0]

    back = placement.upright(heat)
    row, column = np.unravel_index(back.argmax(), back.shape)
    assert abs((column + 0.5) / 48 * WIDTH - x) < WIDTH / 48
    assert abs((row + 0.5) / 48 * HEIGHT - y) < HEIGHT / 48

    marked = MarkedMap(heat, float(heat.max() / 2))
    (told,) = marked.regions((HEIGHT, WIDTH), placement=placement)
    (plain,) = marked.regions((HEIGHT, WIDTH))
    assert told.area == pytest.approx(0.81 * plain.area, rel=0.03)
    assert told.box[0] + told.box[2] / 2 == pytest.approx(x, abs=6)
    assert told.box[1] + told.box[3] / 2 == pytest.approx(y, abs=6)
    assert np.mean(told.contour, axis=0) == pytest.approx((x, y), abs=6)


def test_a_file_is_aligned_upright_as_a_frame_is(alignment: Alignment, tmp_path: Path) -> None:
    image, spec = part(30), PreprocessSpec(height=128, width=128, alignment=alignment)
    path = tmp_path / "part.png"
    assert cv2.imwrite(str(path), image[..., ::-1])
    found = read_image(path, spec)
    assert isinstance(found, DecodedImage)
    assert found.placement is not None
    np.testing.assert_array_equal(found.pixels, decode_frame(np.ascontiguousarray(image[..., ::-1]), spec).pixels)
    assert read_image(path, replace(spec, alignment=None)).placement is None  # type: ignore[union-attr]


def test_features_of_aligned_images_are_cached_apart(alignment: Alignment) -> None:
    plain = PreprocessSpec(height=128, width=128)
    specs = [plain, replace(plain, alignment=alignment), replace(plain, alignment=replace(alignment, least=0.9))]
    names = {FeatureStore._name(None, FeatureKey("0" * 64, spec, "plain")) for spec in specs}  # type: ignore[arg-type]
    assert len(names) == 3


def test_a_damaged_thumbnail_or_outline_is_refused(alignment: Alignment) -> None:
    with pytest.raises(ValueError, match="no thumbnail"):
        replace(alignment, thumbnail=alignment.thumbnail[2:])
    with pytest.raises(ValueError, match="no outline"):
        replace(alignment, outline=(alignment.outline or "")[2:])


def test_real_pills_that_are_turned_are_found_and_boards_are_refused(real_lines: Path) -> None:
    """Of the good pills the turn is found to a degree; the boards of a line are none like another."""

    def images(line: str, count: int) -> list[NDArray[np.uint8]]:
        return [read_native(path) for path in sorted((real_lines / line / "train" / "good").iterdir())[:count]]

    *support, pill = images("mvtec/pill", 5)
    fit = alignment_of(support, AlignMode.SIMILARITY)
    assert fit is not None
    height, width = pill.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 10, 0.9)
    turned = cv2.warpAffine(pill, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    before, after = fit.alignment.place(pill), fit.alignment.place(turned)
    assert before.problem is after.problem is None
    between = after.matrix[:, :2] @ np.linalg.inv(before.matrix[:, :2])
    assert np.degrees(np.arctan2(between[0, 1], between[0, 0])) == pytest.approx(10, abs=1)
    assert after.scale / before.scale == pytest.approx(0.9, abs=0.01)
    assert alignment_of(images("deeppcb/board12100", 4), AlignMode.SIMILARITY) is None
