"""Regions of an anomaly map."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.regions import largest_region, share_of_image


def blank(side: int = 32) -> np.ndarray:
    return np.zeros((side, side), np.float32)


def test_nothing_marked_is_no_region():
    assert largest_region(blank(), 0.5) == 0.0


def test_everything_marked_is_one_region():
    assert largest_region(blank() + 1, 0.5) == 1.0


def test_the_largest_counts_and_regions_do_not_add_up():
    scattered = blank()
    scattered[2:6, 2:6] = 1.0
    alone = largest_region(scattered, 0.5)
    assert alone == pytest.approx(16 / 1024, rel=0.1)  # four cells by four; the edge runs between two cells
    scattered[20:23, 20:23] = 1.0
    scattered[28, 2] = 1.0
    assert largest_region(scattered, 0.5) == alone


def test_cells_that_touch_at_a_corner_are_one_region():
    touching = blank()
    touching[4:8, 4:8] = touching[8:12, 8:12] = 1.0
    apart = blank()
    apart[4:8, 4:8] = apart[20:24, 20:24] = 1.0
    assert largest_region(touching, 0.5) > 1.9 * largest_region(apart, 0.5)


def test_the_threshold_itself_is_marked():
    assert largest_region(blank() + 0.5, 0.5) == 1.0


def test_areas_are_shares_of_the_image():
    assert share_of_image(512.0, [(512, 512)], millimetres_per_pixel=None) == pytest.approx(1 / 512)
    assert share_of_image(2.0, [(100, 200)], millimetres_per_pixel=0.1) == pytest.approx(200 / 20_000)
    assert share_of_image(50.0, [(10, 10), (10, 10), (400, 400)], millimetres_per_pixel=None) == pytest.approx(0.5)
