"""How bright an image's pixels are, against those of a line."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.tones import Tones, tones_of


def shares(*values: int) -> NDArray[np.float32]:
    """Of an image whose pixels have these grey values in equal parts."""
    return (np.bincount(np.array(values) // 4, minlength=64) / len(values)).astype(np.float32)


def test_no_image_of_the_support_is_beyond_its_bound() -> None:
    rng = np.random.default_rng(0)
    images = [shares(*rng.integers(0, 256, 50)) for _ in range(5)]
    tones = tones_of(images)
    assert max(tones.strange(image) for image in images) == 0


@pytest.mark.parametrize("gain", [0.8, 1.0, 1.2])
def test_light_that_drifts_gives_no_strange_brightness(gain: float) -> None:
    tones = tones_of([shares(0, 40, 100, 200), shares(0, 60, 90, 210)])
    image = shares(*(min(255, round(gain * value)) for value in (0, 50, 95, 205)))
    assert tones.strange(image) == 0


def test_what_is_strange_is_the_share_of_pixels_that_are() -> None:
    tones = tones_of([shares(0, 0, 250, 250)])
    assert tones.strange(shares(60, 60, 250, 250)) == pytest.approx(0.5, abs=0.01)
    assert tones.strange(shares(0, 0, 0, 250)) == pytest.approx(0.25, abs=0.01), "more black than any image has"


def test_few_images_bound_it_less() -> None:
    image = shares(0, 120, 250)
    bounds = [tones_of([image] * count).most for count in (1, 4, 16)]
    assert bounds == pytest.approx([0.4, 0.175, 0.11875])


def test_tones_survive_a_manifest() -> None:
    tones = tones_of([shares(3, 77, 140, 255)])
    assert Tones(**json.loads(json.dumps(asdict(tones)))) == tones
