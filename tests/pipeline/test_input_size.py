"""Inputs that follow the proportions of images."""

from __future__ import annotations

import pytest

from pipeline.input_size import InputSize, oblong_ratio


@pytest.mark.parametrize("side", [256, 384, 512])
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.75, 4 / 3, 16 / 9, 3.0])
def test_an_oblong_has_the_ratio_and_the_pixels_of_its_square(ratio: float, side: int) -> None:
    size = InputSize.following(ratio, side)
    assert not size.is_square
    assert size.height % 32 == size.width % 32 == 0
    assert size.height / size.width == pytest.approx(ratio, rel=0.25)
    assert 0.85 * side**2 <= size.height * size.width <= 1.05 * side**2, "it may cost no more than the square"
    assert size.side == side


def test_sizes_are_told_as_a_side_or_as_height_and_width() -> None:
    assert str(InputSize.of(256)) == "256 px"
    assert str(InputSize.of((192, 352))) == "192 × 352 px"
    assert InputSize.of(256).side == 256


@pytest.mark.parametrize(
    ("sizes", "ratio"),
    [
        ([(512, 512)], None),
        ([(1000, 1200)], None),  # nearly square
        ([(480, 640), (960, 1280)], 0.75),
        ([(640, 480)] * 3, 4 / 3),
        ([(640, 480), (480, 640)], None),  # no input follows both
        ([(300, 600), (300, 480)], None),
        ([(300, 600), (300, 590), (300, 610)], 0.5),
    ],
)
def test_the_ratio_is_of_images_that_agree(sizes: list[tuple[int, int]], ratio: float | None) -> None:
    assert oblong_ratio(sizes) == (None if ratio is None else pytest.approx(ratio))
