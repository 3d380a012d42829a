"""Which images show a part again: told apart from parts that look alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import repeated_parts
from pipeline.imaging.images import read_native
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.product_lines.near_duplicates import THUMBNAIL_SIDE
from pipeline.repeated_parts import repeated, thumbnail
from pipeline.synthetic.lines import generate_line

Image = NDArray[np.uint8]
PARTS, WIDE = 12, 256


def noisy(image: Image, rng: np.random.Generator) -> Image:
    return (image + rng.normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8)


def brighter(image: Image, rng: np.random.Generator) -> Image:
    return noisy((image * 0.9 + 5).astype(np.uint8), rng)


def shifted(image: Image, rng: np.random.Generator) -> Image:
    moved = cv2.warpAffine(image, np.array([[1, 0, 0.5], [0, 1, 0.0]]), (WIDE, WIDE), borderMode=cv2.BORDER_REFLECT)
    return noisy(moved.astype(np.uint8), rng)


def as_jpeg(image: Image, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", noisy(image, rng))[1], cv2.IMREAD_COLOR), np.uint8)


def thumbnails(images: list[Image]) -> Image:
    return np.stack([thumbnail(image) for image in images])


def parts(seed: int) -> list[Image]:
    line, rng = generate_line(seed, size=WIDE), np.random.default_rng(seed)
    return [line.good(rng).image for _ in range(PARTS)]


@pytest.mark.parametrize("again", [noisy, brighter, shifted, as_jpeg])
def test_a_part_that_is_taken_again_is_found_and_no_other(again: Callable[[Image, np.random.Generator], Image]) -> None:
    for seed in (0, 2, 3, 4):  # parts of 1 differ by little more than this noise
        rng, seen = np.random.default_rng(seed), parts(seed)
        found = repeated(thumbnails([*seen, *(again(image, rng) for image in seen[:5])]))
        assert np.flatnonzero(found).tolist() == list(range(PARTS, PARTS + 5))


def test_the_first_image_of_a_part_stays_wherever_it_stands() -> None:
    rng, seen = np.random.default_rng(0), parts(0)
    found = repeated(thumbnails([noisy(seen[3], rng), *seen, noisy(seen[3], rng)]))
    assert np.flatnonzero(found).tolist() == [4, PARTS + 1]


def test_parts_that_differ_by_noise_alone_are_none_of_one_another_in_two_poses_either() -> None:
    rng, part = np.random.default_rng(0), parts(0)[0]
    poses = [noisy(part, rng) for _ in range(10)] + [noisy(np.rot90(part).copy(), rng) for _ in range(10)]
    assert not repeated(thumbnails(poses)).any()


def test_a_belt_that_stood_still_for_a_third_of_the_images_shows_one_part() -> None:
    rng, seen = np.random.default_rng(0), parts(0)
    found = repeated(thumbnails([*seen, *(noisy(seen[4], rng) for _ in range(PARTS - 3))]))
    assert np.flatnonzero(found).tolist() == list(range(PARTS, 2 * PARTS - 3))


def test_parts_of_many_kinds_are_none_of_one_another_where_a_mark_tells_them_apart() -> None:
    line, rng, images = generate_line(0, size=WIDE), np.random.default_rng(0), list[Image]()
    for kind in [line.good(rng).image for _ in range(12)]:
        for _ in range(20):
            marked, (x, y), grey = kind.copy(), rng.integers(20, WIDE - 20, 2).tolist(), int(rng.integers(256))
            images.append(noisy(cv2.circle(marked, (x, y), 5, (grey, grey, grey), -1).astype(np.uint8), rng))
    assert repeated(thumbnails(images)).mean() <= 0.03, "marks as grey as what is below them"


def test_images_without_a_part_are_not_judged() -> None:
    rng = np.random.default_rng(0)
    black = [noisy(np.full((WIDE, WIDE, 3), level, np.uint8), rng) for level in range(0, 200, 10)]
    assert not repeated(thumbnails(black)).any()
    assert not repeated(thumbnails([*black, *parts(0)])).any()


def test_an_image_that_shows_nothing_is_no_other_part_again() -> None:
    blank = np.full((WIDE, WIDE, 3), 9, np.uint8)
    assert not repeated(thumbnails([*parts(0), noisy(blank, np.random.default_rng(0))])).any()


def test_few_images_are_not_judged() -> None:
    assert not repeated(thumbnails([parts(0)[0]] * 7)).any()
    assert repeated(np.zeros((0, THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.uint8)).shape == (0,)


def test_parts_that_are_known_are_found_and_not_judged() -> None:
    rng, seen = np.random.default_rng(0), parts(0)
    images = [*(noisy(image, rng) for image in seen[:3]), *parts(0)[9:], noisy(seen[10], rng)]
    assert repeated(thumbnails(images), thumbnails(seen[:9])).tolist() == [True] * 3 + [False] * 3 + [True]
    assert not repeated(thumbnails(images[:4]), None).any(), "by themselves they are too few to be judged"
    assert repeated(thumbnails(images[:4]), thumbnails(seen[:9])).tolist() == [True] * 3 + [False]


def test_however_many_parts_are_known_as_many_images_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_parts, "_MOST_IMAGES", 3)
    rng, seen = np.random.default_rng(0), parts(0)
    again = thumbnails([noisy(image, rng) for image in seen[:4]])
    assert repeated(again, thumbnails(seen)).tolist() == [True, True, True, False]


def test_an_image_that_changes_along_one_axis_alone_is_compared_like_others() -> None:
    rng = np.random.default_rng(0)
    stripes = [np.repeat(rng.integers(0, 256, (WIDE, 1, 1), np.uint8), WIDE, 1).repeat(3, 2) for _ in range(PARTS)]
    found = repeated(thumbnails([*stripes, stripes[4]]))
    assert np.flatnonzero(found).tolist() == [PARTS]


@pytest.mark.lines
def test_on_real_lines(real_lines: Path) -> None:
    for line in find_lines(real_lines):
        found_again_on(line)


def found_again_on(line: ProductLine) -> None:
    rng = np.random.default_rng(0)
    seen = [cv2.resize(read_native(record.path), (WIDE, WIDE)).astype(np.uint8) for record in line.train_good[:20]]
    seen = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in seen]
    found = repeated(thumbnails([*seen, *(noisy(image, rng) for image in seen[:10])]))
    assert found[: len(seen)].mean() <= 0.15, f"{line.name}: only parts whose pictures overlap"
    if line.name == "kaggle_pill/pill_edge":  # its parts differ by hardly more than noise, and are no repetitions
        assert not found.any()
    else:
        assert found[len(seen) :].all(), line.name
