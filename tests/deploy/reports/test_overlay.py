"""Overlays: what is shown, where, and what is refused."""

from __future__ import annotations

import base64
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.reports import overlay
from pipeline.region_of_interest import RegionOfInterest

GREY = 128


def plain(height: int = 96, width: int = 128) -> overlay.RGB:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def decoded(encoded: bytes) -> overlay.RGB:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1].astype(np.uint8)


def test_nothing_is_drawn_on_a_map_well_below_the_threshold():
    quiet = np.full((8, 8), 0.5, dtype=np.float32)
    assert np.array_equal(overlay.heat_map_image(plain(), quiet, 1.0), plain())


def test_what_lies_outside_the_region_is_shaded_and_the_rest_is_as_it_was():
    quiet, region = np.full((8, 8), 0.5, dtype=np.float32), np.zeros((48, 64), np.bool_)
    region[:, :32] = True
    drawn = decoded(overlay.overlay_jpeg(plain(), quiet, 1.0, quality=100, region=RegionOfInterest(region)))
    assert np.abs(drawn[:, :56].astype(int) - GREY).max() <= 2
    assert np.abs(drawn[:, 72:].astype(int) - round(0.4 * GREY)).max() <= 2


def test_heat_and_contour_are_where_the_map_is_high_and_nowhere_else():
    values = np.zeros((12, 16), dtype=np.float32)
    values[3, 12] = 3.0
    drawn = overlay.heat_map_image(plain(), values, 1.0)
    changed = (drawn != GREY).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert 16 <= rows.min() <= 3.5 * 8 <= rows.max() <= 40  # cell (3, 12) of 8 pixels, and its neighbours at most
    assert 88 <= columns.min() <= 12.5 * 8 <= columns.max() <= 112
    hottest = drawn[28, 100].astype(int)
    assert hottest[0] > GREY + 40  # inferno's hot end is yellow: red and green rise, blue does not
    assert hottest[1] > GREY + 40
    outline = (drawn[..., 0] < 60) & (drawn[..., 1] > 180) & (drawn[..., 2] > 200)
    assert outline.any()
    inside = overlay.upsample_map(values, 96, 128) >= 1.0
    near = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert near[outline].all()


def test_one_colour_means_one_value_on_every_picture():
    one, other = np.zeros((8, 8), dtype=np.float32), np.zeros((8, 8), dtype=np.float32)
    one[:3, :3] = other[:3, :3] = 1.4
    other[5:, 5:] = 9.0  # a much hotter place elsewhere changes nothing here
    first, second = (overlay.heat_map_image(plain(80, 80), values, 1.0) for values in (one, other))
    assert np.array_equal(first[10, 10], second[10, 10])
    assert not np.array_equal(first[10, 10], plain()[0, 0])
    wider = overlay.heat_map_image(plain(80, 80), one, 1.0, scale=100.0)
    assert not np.array_equal(wider[10, 10], first[10, 10])


@pytest.mark.parametrize("threshold", [-3.0, 0.0, 1e-6, 1e6])
def test_any_finite_threshold_and_offset_works(threshold):
    values = np.full((6, 6), threshold - 2 * (abs(threshold) or 1.0), dtype=np.float32)
    values[2, 2] = threshold + (abs(threshold) or 1.0)
    drawn = overlay.heat_map_image(plain(60, 60), values, threshold)
    assert (drawn[25, 25] != GREY).any()
    assert (drawn[55, 55] == GREY).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_upsampling_keeps_the_range_and_the_size(rows, columns, height, width, seed):
    values = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    resized = overlay.upsample_map(values, height, width)
    assert resized.shape == (height, width)
    assert resized.min() >= values.min()
    assert resized.max() <= values.max()


def test_along_a_regions_edge_there_is_no_hot_rim():
    values = np.full((12, 12), -1.0, np.float32)
    values[:, :6] = 0.7  # below the threshold and warm enough to be coloured: from 0.75 on
    values[0, 0] = 2.0
    mask = np.zeros((120, 120), np.bool_)
    mask[:, :60] = True
    inside = slice(30, 120), slice(0, 56)
    bicubic = overlay.heat_map_image(plain(120, 120), values, 1.0)
    assert (bicubic[inside] != GREY).any()
    shown = decoded(overlay.overlay_jpeg(plain(120, 120), values, 1.0, region=RegionOfInterest(mask)))
    assert np.abs(shown[inside].astype(int) - GREY).max() <= 3  # it is a JPEG


def test_the_jpeg_is_bounded_and_the_input_untouched():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, size=(700, 1500, 3), dtype=np.uint8)
    values = rng.random((32, 32)).astype(np.float32)
    before = image.copy(), values.copy()
    assert decoded(overlay.overlay_jpeg(image, values, 0.8)).shape == (478, 1024, 3)
    assert decoded(overlay.overlay_jpeg(image, values, 0.8, max_side=200)).shape == (93, 200, 3)
    assert decoded(overlay.overlay_jpeg(image[:50, :60], values, 0.8)).shape == (50, 60, 3)
    assert len(overlay.overlay_jpeg(image, values, 0.8, quality=40)) < len(overlay.overlay_jpeg(image, values, 0.8))
    assert np.array_equal(image, before[0])
    assert np.array_equal(values, before[1])
    not_contiguous = image[:, ::-1].transpose(1, 0, 2)
    assert decoded(overlay.overlay_jpeg(not_contiguous, values.T, 0.8)).shape == (1024, 478, 3)


def test_worst_cell_maps_the_hottest_pixel_to_a_coarser_grid():
    values = np.zeros((32, 48), dtype=np.float32)
    values[31, 0] = 1.0
    assert overlay.worst_cell(values, (16, 24)) == (15, 0)
    values[10, 47] = 2.0
    assert overlay.worst_cell(values, (32, 48)) == (10, 47)
    assert overlay.worst_cell(values, (1, 1)) == (0, 0)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_patch_contains_its_cell_and_stays_in_the_image(data):
    rows, columns = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    height, width = data.draw(st.integers(rows * 4, 120)), data.draw(st.integers(columns * 4, 120))
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    image = np.zeros((height, width, 3), dtype=np.uint8)
    y, x = int((row + 0.5) * height / rows), int((col + 0.5) * width / columns)
    image[y, x] = 255
    patch = overlay.crop_patch(image, row, col, (rows, columns), size=240, mark=False)
    assert patch.shape == (240, 240, 3)
    assert patch.max() > 60


def test_a_patch_is_the_neighbourhood_of_its_cell_and_marks_it():
    image = np.repeat(np.arange(160, dtype=np.uint8)[None, :, None], 160, axis=0).repeat(3, axis=2)
    bare = overlay.crop_patch(image, 5, 5, (10, 10), cells=3, size=48, mark=False)
    assert np.array_equal(bare, image[64:112, 64:112])
    border = overlay.crop_patch(image, 0, 9, (10, 10), cells=3, size=48, mark=False)
    assert np.array_equal(border, image[:48, 112:])
    framed = overlay.crop_patch(image, 5, 5, (10, 10), cells=3, size=48)
    changed = (framed != bare).any(axis=2)
    assert changed[16, 16:32].all()
    assert not changed[20:28, 20:28].any()
    assert not changed[:12].any()


def test_data_uris_hold_what_was_given():
    image = np.random.default_rng(0).integers(0, 255, size=(20, 30, 3), dtype=np.uint8)
    png = overlay.data_uri(overlay.encode_png(image))
    assert png.startswith("data:image/png;base64,")
    assert np.array_equal(decoded(base64.b64decode(png.partition(",")[2])), image)
    assert overlay.data_uri(overlay.encode_jpeg(plain())).startswith("data:image/jpeg;base64,")
    with pytest.raises(ValueError, match="expected JPEG or PNG bytes, got b'<script>'"):
        overlay.data_uri(b"<script>")


def test_refusals():
    values = np.zeros((4, 4), dtype=np.float32)
    with pytest.raises(ValueError, match=r"expected a uint8 RGB image \(H, W, 3\), got uint8 \(96, 128\)"):
        overlay.overlay_jpeg(plain()[..., 0], values, 1.0)
    with pytest.raises(ValueError, match="got float64"):
        overlay.overlay_jpeg(plain().astype(np.float64), values, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected an anomaly map \(h, w\), got \(1, 4, 4\)"):
        overlay.overlay_jpeg(plain(), values[None], 1.0)
    with pytest.raises(ValueError, match="expected a finite anomaly map"):
        overlay.overlay_jpeg(plain(), values + np.nan, 1.0)
    for threshold in (math.nan, math.inf):
        with pytest.raises(ValueError, match="expected a finite pixel threshold"):
            overlay.overlay_jpeg(plain(), values, threshold)
    for scale in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="expected a scale above 0"):
            overlay.overlay_jpeg(plain(), values, 1.0, scale=scale)
    with pytest.raises(ValueError, match="expected a cell inside the grid 4 x 4, got row 4, column 0"):
        overlay.crop_patch(plain(), 4, 0, (4, 4))
