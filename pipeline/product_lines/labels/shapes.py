"""Shapes that people draw around defects, as the pixels they mark.

Places are in pixels from the outer corner of an image's first pixel, x to the right and y down. A pixel is marked where
its middle lies inside: a box from 2 to 5 marks the columns 2, 3 and 4. Where no pixel's middle lies inside, those that
the corners lie in are marked, as a small defect is one, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import LineError
from pipeline.imaging.encoded import size_text

Point = tuple[float, float]
"""(x, y)."""

_ELLIPSE_CORNERS = 360


class Shape(Protocol):
    """What marks pixels of a mask."""

    def draw(self, mask_HW: NDArray[np.bool_]) -> None:
        """Mark its pixels. Raises `LineError` where it does not lie in the image; the place is not named."""
        ...


@dataclass(frozen=True)
class Polygon:
    """The inside of a closed outline; where it crosses itself, what it goes around twice is outside."""

    corners: Sequence[Point]

    def draw(self, mask_HW: NDArray[np.bool_]) -> None:
        """See `Shape`; parts beyond the image's edges are cut off."""
        height, width = mask_HW.shape
        corners = np.asarray(self.corners, np.float64)
        _refuse_far_off(corners, height, width)
        (left, top), (right, bottom) = (
            np.clip(np.ceil(ends - 0.5), 0, (width, height)).astype(int) for ends in (corners.min(0), corners.max(0))
        )
        crossings = np.zeros((bottom - top, right - left + 1), np.uint8)
        for (x, y), (next_x, next_y) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            first, last = np.clip(np.ceil(np.sort((y, next_y)) - 0.5), top, bottom).astype(int)
            rows = np.arange(first, last)  # none of a level edge
            if len(rows):
                across = x + (rows + 0.5 - y) * ((next_x - x) / (next_y - y))
                columns = np.clip(np.ceil(across - 0.5), left, right).astype(int)
                crossings[rows - top, columns - left] ^= 1
        inside = np.bitwise_xor.accumulate(crossings[:, :-1], axis=1).astype(bool)
        if inside.any():
            mask_HW[top:bottom, left:right] |= inside
        else:
            self._draw_corners(mask_HW, corners)

    @staticmethod
    def _draw_corners(mask_HW: NDArray[np.bool_], corners: NDArray[np.float64]) -> None:
        columns, rows = np.floor(corners).astype(int).T
        height, width = mask_HW.shape
        within = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
        if not within.any():
            got = f"one outside of its {size_text((height, width))}"
            raise LineError("a shape that lies in its image", got, "correct the label")
        mask_HW[rows[within], columns[within]] = True


@dataclass(frozen=True)
class Bitmap:
    """Pixels (h, w), the first of them in the column `left` and the row `top`."""

    left: int
    top: int
    pixels_hw: NDArray[np.bool_]

    def draw(self, mask_HW: NDArray[np.bool_]) -> None:
        """See `Shape`."""
        _window(mask_HW, self.left, self.top, *self.pixels_hw.shape)[...] |= self.pixels_hw


@dataclass(frozen=True)
class Runs:
    """Run lengths of pixels outside and inside in turn, beginning with outside, of a window of an image.

    Args:
        left: the window's first column.
        top: its first row.
        height: of the window.
        width: of the window.
        lengths: of the runs.
        by_columns: the runs go down the columns, as COCO's do; False: along the rows.
    """

    left: int
    top: int
    height: int
    width: int
    lengths: Sequence[int]
    by_columns: bool

    def draw(self, mask_HW: NDArray[np.bool_]) -> None:
        """See `Shape`."""
        window = _window(mask_HW, self.left, self.top, self.height, self.width)
        if min(self.lengths, default=0) < 0 or sum(self.lengths) != window.size:
            got = f"runs of {sum(self.lengths):,} pixels" if min(self.lengths, default=0) >= 0 else "a run below 0"
            raise LineError(f"run lengths of {window.size:,} pixels", got, "export the labels again")
        inside = np.repeat(np.arange(len(self.lengths)) % 2 == 1, self.lengths)
        window |= inside.reshape((self.width, self.height)).T if self.by_columns else inside.reshape(window.shape)


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    """What lies between two columns and two rows. Raises `LineError` where an end comes before its beginning."""
    if right < left or bottom < top:
        got = f"({left:g}, {top:g}) to ({right:g}, {bottom:g})"
        raise LineError("a box from left to right and from top to bottom", got, "correct the label")
    return Polygon(((left, top), (right, top), (right, bottom), (left, bottom)))


def ellipse(centre: Point, radii: Point) -> Polygon:
    """An ellipse of two radii, across and down. Raises `LineError` where one is below 0."""
    if min(radii) < 0:
        raise LineError("radii of 0 and more", f"{min(radii):g}", "correct the label")
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)
    return Polygon([(centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles])


def turned(shape: Polygon, degrees: float, about: Point) -> Polygon:
    """A polygon turned clockwise, as it is seen, about a point."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    shifts = ((x - about[0], y - about[1]) for x, y in shape.corners)
    return Polygon([(about[0] + x * cos - y * sin, about[1] + x * sin + y * cos) for x, y in shifts])


def stroke(points: Sequence[Point], width: float) -> tuple[Polygon, ...]:
    """A line from point to point, of a width, with round ends."""
    ends = [ellipse(point, (width / 2, width / 2)) for point in points]
    return (*ends, *(_band(*pair, width) for pair in itertools.pairwise(points) if pair[0] != pair[1]))


def mask_of(shapes: Iterable[Shape], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask (h, w) of all that shapes mark. Raises `LineError` as `Shape.draw` does."""
    mask_HW = np.zeros(size, bool)
    for shape in shapes:
        shape.draw(mask_HW)
    return mask_HW


def _band(start: Point, end: Point, width: float) -> Polygon:
    across, down = end[0] - start[0], end[1] - start[1]
    scale = width / 2 / math.hypot(across, down)
    x, y = -down * scale, across * scale
    return Polygon(
        ((start[0] + x, start[1] + y), (end[0] + x, end[1] + y), (end[0] - x, end[1] - y), (start[0] - x, start[1] - y))
    )


def _refuse_far_off(corners: NDArray[np.float64], height: int, width: int) -> None:
    """Tools let shapes stick out a little; what lies a whole image away belongs to another one, or has other units."""
    far = max(height, width)
    wrong = ((corners < -far) | (corners > 2 * far)).any(axis=1)
    if wrong.any():
        x, y = corners[wrong][0]
        got = f"({x:g}, {y:g}) in an image of {size_text((height, width))}"
        raise LineError("a shape that lies in its image", got, "correct the label")


def _window(mask_HW: NDArray[np.bool_], left: int, top: int, height: int, width: int) -> NDArray[np.bool_]:
    if min(left, top, height, width) < 0 or top + height > mask_HW.shape[0] or left + width > mask_HW.shape[1]:
        got = f"one of {size_text((height, width))} at ({left}, {top}) of {size_text(mask_HW.shape)}"
        raise LineError("a mask that lies in its image", got, "export the labels again")
    return mask_HW[top : top + height, left : left + width]
