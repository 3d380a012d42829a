"""What a support's images say of all images of their line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.imaging.images import DecodedImage
from pipeline.likeness import Likeness, Seen, likeness_of
from pipeline.look import look_of

PIXELS = np.random.default_rng(0).integers(80, 120, (32, 32, 3), dtype=np.uint8)


def mono(count: int) -> list[DecodedImage]:
    image = DecodedImage(Path("a.png"), "0" * 64, PIXELS, (96, 128), 8, colour=False)
    return [image] * count


def problem(likeness: Likeness, size: tuple[int, int]) -> str | None:
    return likeness.problem(Seen(PIXELS, size), None)


def test_proportions_are_those_of_all_images_also_of_some_that_are_not_looked_at() -> None:
    one_size, another_too = (
        likeness_of(mono(3), (), 0.5, sizes=[(96, 128)] * 200 + more) for more in ([], [(96, 200)])
    )
    assert "other proportions" in (problem(one_size, (96, 200)) or "")
    assert problem(another_too, (96, 200)) is None
    assert another_too.images == 201


def test_of_many_sizes_a_bundle_tells_the_narrowest_and_the_widest() -> None:
    likeness = likeness_of(mono(1), (), 0.5, sizes=[(96, 96 + i % 50) for i in range(100)])
    assert likeness.sizes == ((96, 96), (96, 145))
    assert likeness.support_remarks()[-1].startswith("The images are 1.00 to 1.51 times as wide as high")


@pytest.mark.parametrize(("colour", "told"), [(True, True), (False, False), (None, False)])
def test_colour_from_a_mono_line_is_told_of_and_a_streams_frame_does_not_tell(colour: bool | None, told: bool) -> None:
    remark = likeness_of(mono(2), (), 0.5).remark(Seen(PIXELS, (96, 128), colour))
    assert (remark is not None and remark.startswith("Some images are colour")) == told


SIDE = 128


def part(seed: int) -> NDArray[np.uint8]:
    """A bright part with a hole on a dark, noisy ground, always in one place."""
    image = np.full((SIDE, SIDE, 3), 60, np.float32)
    cv2.rectangle(image, (20, 30), (90, 110), (170, 170, 170), -1)
    cv2.circle(image, (40, 60), 12, (70, 70, 70), -1)
    noise = np.random.default_rng(seed).normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def moved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.roll(image, SIDE // 2, 1)


def texture(seed: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(40, 200, (16, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def decoded(images: list[NDArray[np.uint8]]) -> list[DecodedImage]:
    return [DecodedImage(Path(f"{i}.png"), "0" * 64, image, (SIDE, SIDE), 8) for i, image in enumerate(images)]


def why(likeness: Likeness, pixels: NDArray[np.uint8]) -> str:
    return likeness.problem(Seen(pixels, (SIDE, SIDE)), None) or ""


@pytest.mark.parametrize("good", [1, 4])
def test_a_blurred_image_is_unlike_a_sharp_line_and_like_a_blurred_one(good: int) -> None:
    sharp = [part(i) for i in range(good)]
    blurred = [cv2.GaussianBlur(image, (0, 0), 4).astype(np.uint8) for image in sharp]
    of_sharp, of_blurred = (likeness_of(decoded(images), (), 0.5) for images in (sharp, blurred))
    assert why(of_sharp, part(9)) == ""
    assert "blurred" in why(of_sharp, blurred[0])
    assert why(of_blurred, blurred[0]) == ""


@pytest.mark.parametrize(("side", "margin"), [(128, 0.7), (256, 0.7), (512, 0.99)])
def test_finer_detail_of_a_larger_size_may_go(side: int, margin: float) -> None:
    image = cv2.resize(part(0), (side, side)).astype(np.uint8)
    likeness = likeness_of(decoded([image] * 2), (), 0.5)
    assert look_of(image).fineness - (likeness.fineness or 0) == pytest.approx(margin, abs=0.01)


def test_where_all_parts_lie_alike_another_scene_is_unlike_the_line() -> None:
    of_parts = likeness_of(decoded([part(i) for i in range(4)]), (), 0.5)
    scratched = part(9)
    scratched[40:100, 50:60] = 20
    assert why(of_parts, part(9)) == ""
    assert why(of_parts, scratched) == ""
    assert "another scene" in why(of_parts, moved(part(9)))


@pytest.mark.parametrize("kind", ["textures", "three parts", "parts at any angle"])
def test_what_does_not_lie_alike_for_sure_may_lie_anyhow(kind: str) -> None:
    images = {
        "textures": [texture(i) for i in range(6)],
        "three parts": [part(i) for i in range(3)],
        "parts at any angle": [part(i) for i in range(6)],
    }[kind]
    likeness = likeness_of(decoded(images), (), 0.5, any_angle=kind == "parts at any angle")
    assert likeness.layout is None
    assert why(likeness, moved(images[0])) == ""


def test_no_defect_of_the_support_is_another_scene() -> None:
    likeness = likeness_of(decoded([part(i) for i in range(4)]), decoded([moved(part(9))]), 0.5)
    assert why(likeness, moved(part(9))) == ""


def board(seed: int) -> NDArray[np.uint8]:
    """Black and white, without noise, cut anywhere: no share of black or white tells one from another."""
    cells = 255 * np.random.default_rng(seed).integers(0, 2, (SIDE // 16, SIDE // 16, 1), dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(cells.repeat(16, 0).repeat(16, 1), (SIDE, SIDE, 3)))


def in_light(image: NDArray[np.uint8], gain: float, more: float = 0) -> NDArray[np.uint8]:
    return np.clip(gain * image.astype(np.float32) + more, 0, 255).astype(np.uint8)


def test_glare_that_turns_black_to_grey_is_unlike_a_line_of_black_and_white() -> None:
    likeness = likeness_of(decoded([board(i) for i in range(4)]), (), 0.5)
    assert "of a brightness that is new" in why(likeness, in_light(board(9), 4, 60))
    assert why(replace(likeness, tones=None), in_light(board(9), 4, 60)) == "", "a bundle of before has no tones"


@pytest.mark.parametrize("gain", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("draw", [board, part])
def test_a_good_image_in_a_fifth_more_or_less_light_is_of_its_line(
    gain: float, draw: Callable[[int], NDArray[np.uint8]]
) -> None:
    likeness = likeness_of(decoded([draw(i) for i in range(4)]), (), 0.5)
    assert why(likeness, in_light(draw(9), gain)) == ""


def test_a_grey_half_is_unlike_boards_whose_white_rows_have_no_noise() -> None:
    white = [board(i) for i in range(4)]
    for image in white:
        image[: SIDE // 2] = 255
    likeness = likeness_of(decoded(white), (), 0.5)
    half = board(9)
    half[SIDE // 2 :] = 128
    assert why(likeness, in_light(white[0], 0.8)) == ""
    assert why(likeness, half).startswith("unlike the line")
