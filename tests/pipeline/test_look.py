"""A look is taken of some rows, and says of an image what all of them would."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.look import even_or_white, look_of

Pixels = NDArray[np.uint8]


def texture(side: int, grain: float, across: float = 0, seed: int = 0) -> Pixels:
    """Grains of so many pixels down and across (0: as down), and noise."""
    rng = np.random.default_rng(seed)
    grains = cv2.GaussianBlur(rng.normal(0, 1, (side, side, 3)), (0, 0), sigmaX=across or grain, sigmaY=grain)
    image = 120 + 30 * grains / grains.std() + rng.normal(0, 3, grains.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def fineness_of_all_rows(pixels: Pixels) -> float:
    """What bundles of format 6 have a bound for."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    fine = cv2.norm(cv2.Laplacian(grey, cv2.CV_16S), cv2.NORM_L1) / grey.size
    half = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    down, across = cv2.norm(half[1:], half[:-1], cv2.NORM_L1), cv2.norm(half[:, 1:], half[:, :-1], cv2.NORM_L1)
    return math.log((fine + 0.5) / ((down + across) / half.size + 0.5))


@pytest.mark.parametrize("side", [64, 100, 256, 384, 512])
@pytest.mark.parametrize(("down", "across"), [(1, 1), (1, 4), (4, 1), (4, 4)])
def test_some_rows_have_the_fineness_of_all(side: int, down: float, across: float) -> None:
    image = texture(side, down, across)
    assert look_of(image).fineness == pytest.approx(fineness_of_all_rows(image), abs=0.1)


def test_rows_that_lie_apart_are_no_detail() -> None:
    ramp = np.linspace(0, 240, 512).astype(np.uint8)
    falling = np.ascontiguousarray(np.broadcast_to(ramp[:, None, None], (512, 512, 3)))
    assert look_of(falling).fineness == pytest.approx(fineness_of_all_rows(falling), abs=0.1)


@pytest.mark.parametrize(("height", "width"), [(37, 53), (130, 255), (255, 130), (1000, 64)])
def test_every_size_has_a_look(height: int, width: int) -> None:
    image = np.ascontiguousarray(texture(1000, 5)[:height, :width])
    image[: height // 2] = 0
    look = look_of(image)
    assert look.black == pytest.approx(0.5, abs=0.03)
    assert look.tones.sum() == pytest.approx(1, abs=1e-5)
    assert look.half.shape[0] <= 128
    assert sum(look.cast) == pytest.approx(0, abs=1e-6)


def test_a_view_of_an_image_looks_as_its_copy() -> None:
    view = texture(600, 5)[::2, ::2]
    assert str(look_of(view)) == str(look_of(view.copy()))


def test_white_rows_are_even_only_where_they_are_asked_for() -> None:
    image = texture(256, 5)
    image[:128] = 255
    assert look_of(image).even == 0
    assert even_or_white(image) == pytest.approx(0.5, abs=0.02)
    image[:128] = 204
    assert look_of(image).even == pytest.approx(0.5, abs=0.02)
