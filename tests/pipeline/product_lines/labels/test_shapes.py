"""Shapes to masks: every mask here is counted by hand."""

import math

import numpy as np
import pytest

from pipeline.errors import LineError
from pipeline.product_lines.labels.coco import run_lengths
from pipeline.product_lines.labels.shapes import Bitmap, Polygon, Runs, box, ellipse, mask_of, stroke, turned


def drawn(shape, height=6, width=8):
    return ["".join(".#"[int(pixel)] for pixel in row) for row in mask_of([shape], (height, width))]


def test_a_box_holds_its_first_pixels_and_not_the_one_at_its_end():
    assert drawn(box(2, 1, 5, 3)) == ["........", "..###...", "..###...", "........", "........", "........"]


def test_a_pixel_is_marked_where_its_middle_lies_inside():
    assert drawn(box(1.5, 0.51, 3.5, 1.6)) == ["........", ".##.....", "........", "........", "........", "........"]
    assert drawn(box(1.6, 0, 3.4, 1)) == ["..#.....", *["........"] * 5]


def test_a_triangle():
    assert drawn(Polygon([(0, 0), (4, 0), (0, 4)])) == [
        "###.....",
        "##......",
        "#.......",
        "........",
        "........",
        "........",
    ]


def test_an_outline_may_go_either_way_around_and_have_a_bay():
    u = [(1, 1), (3, 1), (3, 3), (5, 3), (5, 1), (7, 1), (7, 5), (1, 5)]
    expected = ["........", ".##..##.", ".##..##.", ".######.", ".######.", "........"]
    assert drawn(Polygon(u)) == drawn(Polygon(u[::-1])) == expected


def test_what_sticks_out_is_cut_off():
    assert drawn(box(-3, -2, 2, 1)) == ["##......", *["........"] * 5]
    assert drawn(box(6, 5, 9.5, 8)) == [*["........"] * 5, "......##"]


def test_shapes_smaller_than_a_pixel_mark_the_one_that_they_lie_in():
    assert drawn(box(2.1, 3.1, 2.3, 3.3)) == [*["........"] * 3, "..#.....", *["........"] * 2]
    assert drawn(Polygon([(5, 1), (5, 1), (5, 1)])) == ["........", ".....#..", *["........"] * 4]


def test_a_circle():
    assert drawn(ellipse((3, 3), (2, 2))) == ["........", "..##....", ".####...", ".####...", "..##....", "........"]
    mask = mask_of([ellipse((50, 40), (30, 20))], (80, 100))
    rows, columns = np.mgrid[:80, :100] + 0.5
    inside = ((columns - 50) / 30) ** 2 + ((rows - 40) / 20) ** 2 <= 1
    assert np.count_nonzero(mask != inside) <= 4
    assert mask.sum() == pytest.approx(math.pi * 30 * 20, rel=0.005)


def test_a_box_turned_clockwise_about_its_corner():
    assert drawn(turned(box(4, 1, 7, 3), 90, (4, 1))) == [
        "........",
        "..##....",
        "..##....",
        "..##....",
        "........",
        "........",
    ]


def test_a_line_has_its_width_and_round_ends():
    mask = mask_of(stroke([(20, 20), (60, 20), (60, 50)], 10), (80, 100))
    assert mask[15:25, 20:60].all()
    assert mask[20:50, 55:65].all()
    assert (mask[:15].any(), mask[:, 65:].any(), mask[55:].any()) == (False, False, False)
    assert mask[20, 16]
    assert not mask[15, 15]


def test_runs_go_along_rows_or_down_columns():
    lengths = [1, 2, 3]
    assert drawn(Runs(2, 1, 2, 3, lengths, by_columns=False), 4, 6) == ["......", "...##.", "......", "......"]
    assert drawn(Runs(2, 1, 2, 3, lengths, by_columns=True), 4, 6) == ["......", "...#..", "..#...", "......"]


def test_compressed_runs():
    # By hand: each letter is 48 + 5 bits, + 32 where more follow; from the fourth run on, what it differs by.
    assert run_lengths("6") == [6]
    assert run_lengths("52") == [5, 2]
    assert run_lengths("524M") == [5, 2, 4, 2 - 3]
    assert run_lengths("5242") == [5, 2, 4, 4]
    assert run_lengths("T1") == [4 + (1 << 5)]


@pytest.mark.parametrize("text", ["T", "~", "T" * 30, "5é"])
def test_compressed_runs_that_are_none(text):
    with pytest.raises(LineError, match="COCO's compressed run lengths"):
        run_lengths(text)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (box(1e300, 0, 1e301, 1), "a shape that lies in its image"),
        (box(-9, -9, -5, -5), "a shape that lies in its image"),
        (box(8.2, 1, 8.4, 1.3), r"a shape that lies in its image, got one outside of its 6 x 8 pixels"),
        (Runs(0, 0, 6, 8, [47], by_columns=True), "run lengths of 48 pixels, got runs of 47"),
        (Runs(0, 0, 6, 8, [50, -2], by_columns=True), "a run below 0"),
        (Runs(0, 0, 10**9, 10**9, [10**18], by_columns=True), "a mask that lies in its image"),
        (Runs(5, 0, 2, 4, [8], by_columns=False), "a mask that lies in its image"),
        (Bitmap(-1, 0, np.ones((2, 2), bool)), "a mask that lies in its image"),
    ],
)
def test_what_does_not_lie_in_the_image_is_refused(shape, sentence):
    with pytest.raises(LineError, match=sentence):
        mask_of([shape], (6, 8))


def test_boxes_and_radii_turned_around_are_refused():
    with pytest.raises(LineError, match=r"from left to right .* got \(5, 1\) to \(2, 3\)"):
        box(5, 1, 2, 3)
    with pytest.raises(LineError, match="radii of 0 and more, got -1"):
        ellipse((3, 3), (2, -1))
