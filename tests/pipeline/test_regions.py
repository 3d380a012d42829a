"""Regions of an anomaly map."""

from __future__ import annotations

import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.regions import MarkedMap, Region, largest_region, share_of_image


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


# Where they lie


def painted(mask: np.ndarray, value: float = 2.0) -> np.ndarray:
    return np.where(mask, value, 0.0).astype(np.float32)


def two_blobs() -> np.ndarray:
    """A map of 32 x 32 cells: five columns by three rows, and another of two by two, hotter."""
    cells = painted(np.zeros((32, 32), bool))
    cells[20:23, 4:9] = 2.0
    cells[6:8, 24:26] = 3.0
    return cells


def test_each_blob_is_a_region_in_the_images_pixels():
    large, small = MarkedMap(two_blobs(), 1.0).regions((300, 640))
    assert large.box == pytest.approx((4 * 20, 20 * 9.375, 5 * 20, 3 * 9.375), abs=0.15 * 20)
    assert small.box == pytest.approx((24 * 20, 6 * 9.375, 2 * 20, 2 * 9.375), abs=0.3 * 20)
    assert (large.peak, small.peak) == (2.0, 3.0)
    assert large.peak > large.mean > 1.0
    assert large.area == pytest.approx(15 * 20 * 9.375, rel=0.1)
    assert large.area_mm2 is None


@given(
    boxes=st.lists(
        st.tuples(st.integers(0, 27), st.integers(0, 27), st.integers(2, 5), st.integers(2, 5)), min_size=1, max_size=4
    ),
    size=st.tuples(st.integers(16, 3000), st.integers(16, 3000)),
)
def test_a_contour_drawn_again_covers_its_region(boxes: list[tuple[int, int, int, int]], size: tuple[int, int]):
    mask = np.zeros((32, 32), bool)
    for left, top, width, height in boxes:
        mask[top : top + height, left : left + width] = True
    regions = MarkedMap(painted(mask), 1.0).regions(size)
    total = cv2.resize(painted(mask), None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR) >= 1.0
    assert sum(region.area for region in regions) == pytest.approx(total.mean() * size[0] * size[1], rel=1e-3, abs=0.05)
    assert [region.area for region in regions] == sorted((region.area for region in regions), reverse=True)
    drawn = np.zeros((256, 256), np.uint8)
    for region in regions:
        points = np.array(region.contour) * (256 / size[1], 256 / size[0])
        assert len(points) >= 3
        (left, top), (width, height) = np.array(region.box).reshape(2, 2) * (256 / size[1], 256 / size[0])
        assert (points.min(0) >= (left - 0.2, top - 0.2)).all()
        assert (points.max(0) <= (left + width + 0.2, top + height + 0.2)).all()
        filled = np.zeros_like(drawn)
        cv2.fillPoly(filled, [np.round(points * 256 - 128).astype(np.int32)], (1,), shift=8)
        drawn |= filled
    assert (drawn.astype(bool) & total).sum() >= 0.95 * total.sum()


def test_regions_below_the_least_area_are_left_out():
    marked = MarkedMap(two_blobs(), 1.0)
    assert len(marked.regions((320, 320), least_area=0.01)) == 1
    assert marked.regions((320, 320), least_area=0.02) == ()
    assert marked.regions((320, 320), least_area=marked.largest) == marked.regions((320, 320), least_area=0.01)


def test_an_area_in_square_millimetres():
    (region, _) = MarkedMap(two_blobs(), 1.0).regions((320, 320), millimetres_per_pixel=0.1)
    assert region.area_mm2 == pytest.approx(region.area / 100, rel=1e-4)


def test_the_smallest_and_the_largest_region_have_a_contour():
    speck = blank()
    speck[3, 3] = 1.0
    (region,) = MarkedMap(speck, 0.87).regions((256, 256))  # of the finer grid, the four pixels about the cell's centre
    assert region.area == 4
    assert len(region.contour) >= 3
    (everything,) = MarkedMap(blank() + 1, 0.5).regions((90, 120))
    assert everything.box == (0, 0, 120, 90)
    assert {*everything.contour} == {(0, 0), (120, 0), (120, 90), (0, 90)}
    assert MarkedMap(blank(), 0.5).regions((90, 120)) == ()


def test_a_region_goes_through_json():
    (region, _) = MarkedMap(two_blobs(), 1.0).regions((123, 457), millimetres_per_pixel=0.3)
    assert Region.from_json(json.loads(json.dumps(asdict(region)))) == region


def test_what_is_enlarged_is_only_what_is_marked_and_regions_are_those_of_the_whole_map() -> None:
    whole = np.random.default_rng(0).random((40, 60), dtype=np.float32)
    whole = cv2.GaussianBlur(whole, (0, 0), 2)
    threshold = float(np.quantile(whole, 0.97))
    enlarged = cv2.resize(whole, None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR)
    count, _, statistics, _ = cv2.connectedComponentsWithStats((enlarged >= threshold).astype(np.uint8), connectivity=8)
    found = MarkedMap(whole, threshold).regions(enlarged.shape)
    assert sorted((*region.box, region.area) for region in found) == sorted(map(tuple, statistics[1:].tolist()))
    assert len(found) == count - 1 > 3
    edge = np.zeros((5, 5), np.float32)
    edge[4, 4] = 1
    left, top, width, height = MarkedMap(edge, 0.5).regions((40, 40))[0].box
    assert (left + width, top + height) == (40, 40)
