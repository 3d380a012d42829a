"""Regions: the connected parts of an anomaly map that are marked, where they lie in the image, how large they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.placement import Placement

_FINER = 8  # a cell of the finest grid is this many pixels of the network's input: areas are told as pictures show them
_TOLERANCE = 1.0  # of a contour, in eighths of the map's cell: its steps are the grid's, not the defect's
_DECIMALS = 2  # of places, in pixels of the image
_CORNERS = np.ones((2, 2), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A marked part of an image. Places are in pixels of the upright image, from the outer corner of its first pixel.

    Args:
        box: left, top, width and height.
        contour: (x, y) of the outline's corners in turn, three at least; holes are not told.
        area: in pixels, without the holes.
        area_mm2: the same in square millimetres; None: nobody stated the size of a pixel.
        peak: the map's highest value in it.
        mean: the map's mean value in it.
    """

    box: tuple[float, float, float, float]
    contour: tuple[tuple[float, float], ...]
    area: float
    area_mm2: float | None
    peak: float
    mean: float

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The region of which `dataclasses.asdict` went through JSON."""
        x, y, width, height = values["box"]
        contour = tuple((x, y) for x, y in values["contour"])
        return cls(**{**values, "box": (x, y, width, height), "contour": contour})


class MarkedMap:
    """An anomaly map's regions: connected components (8 neighbours) of the map at or above the threshold.

    The map is brought bilinearly to eight times its grid first, as the heat map's contour is.

    Args:
        anomaly_map_hw: (h, w) float32 over the whole image, finite.
        pixel_threshold: from which a value is marked.
    """

    def __init__(self, anomaly_map_hw: NDArray[np.float32], pixel_threshold: float) -> None:
        rows, columns = anomaly_map_hw.shape
        self._shape = (_FINER * rows, _FINER * columns)
        around = _bounds(
            anomaly_map_hw >= pixel_threshold
        )  # mostly few cells: the rest is neither enlarged nor searched
        self._top, self._left = (_FINER * cells.start for cells in around)
        part = np.ascontiguousarray(anomaly_map_hw[around])
        self._values = cv2.resize(part, None, fx=_FINER, fy=_FINER, interpolation=cv2.INTER_LINEAR)
        marked = (self._values >= pixel_threshold).astype(np.uint8)
        _, self._labels, statistics, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
        self._statistics = np.asarray(statistics, np.int32)

    @property
    def _areas(self) -> NDArray[np.int32]:
        """(R,) of the regions, in cells of the finer grid."""
        return self._statistics[1:, cv2.CC_STAT_AREA]  # the first is what is not marked

    @property
    def largest(self) -> float:
        """Area of the largest region, as a share of the image: 0 (nothing is marked) to 1."""
        return float(self._areas.max()) / math.prod(self._shape) if len(self._areas) else 0.0

    def regions(
        self,
        size: tuple[int, int],
        *,
        least_area: float = 0.0,
        millimetres_per_pixel: float | None = None,
        placement: Placement | None = None,
    ) -> tuple[Region, ...]:
        """The regions, the largest first.

        Args:
            size: (height, width) of the upright image, whose pixels are told.
            least_area: share of the image below which a region is left out, 0..1.
            millimetres_per_pixel: side of the image's pixel on the part; None: not known.
            placement: of the image that was aligned before it was mapped; None: it was not.
        """
        areas = self._areas
        cells = math.prod(self._shape)
        kept = (index for index in np.argsort(-areas, kind="stable") if areas[index] / cells >= least_area)
        return tuple(self._region(int(index) + 1, size, millimetres_per_pixel, placement) for index in kept)

    def _region(
        self, label: int, size: tuple[int, int], millimetres: float | None, placement: Placement | None
    ) -> Region:
        left, top, width, height, cells = (int(value) for value in self._statistics[label])
        part = (slice(top, top + height), slice(left, left + width))
        inside = self._labels[part] == label
        values = self._values[part][inside]
        down, across = size[0] / self._shape[0], size[1] / self._shape[1]  # pixels a cell
        left, top = left + self._left, top + self._top
        corners = np.add(_outline(inside), (left, top)) * (across, down)
        area = cells * down * across
        box = (left * across, top * down, width * across, height * down)
        if placement is not None:
            corners, area = placement.points(corners), area * placement.scale**2
            (left, top), (right, bottom) = corners.min(0), corners.max(0)
            box = (left, top, right - left, bottom - top)
        x, y, w, h = (round(float(edge), _DECIMALS) for edge in box)
        return Region(
            box=(x, y, w, h),
            contour=tuple((round(float(x), _DECIMALS), round(float(y), _DECIMALS)) for x, y in corners),
            area=round(area, _DECIMALS),
            area_mm2=None if millimetres is None else float(f"{area * millimetres**2:.6g}"),
            peak=float(values.max()),
            mean=float(values.mean()),
        )


def largest_region(anomaly_map_hw: NDArray[np.float32], pixel_threshold: float) -> float:
    """Area of the largest region, as a share of the image; see `MarkedMap`."""
    return MarkedMap(anomaly_map_hw, pixel_threshold).largest


def share_of_image(area: float, sizes: Sequence[tuple[int, int]], *, millimetres_per_pixel: float | None) -> float:
    """An area as a share of an image, 0..1 and above where it is larger than one.

    Args:
        area: in pixels, or in square millimetres where `millimetres_per_pixel` is given.
        sizes: (height, width) in pixels of the images that are meant; where they differ, their median area counts.
        millimetres_per_pixel: side of a pixel on the part; None: the area is in pixels.
    """
    pixels = float(np.median([height * width for height, width in sizes]))
    return area / (millimetres_per_pixel or 1.0) ** 2 / pixels


def _bounds(marked_hw: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns with all marked cells and their neighbours, into which they run over; of none, one cell's."""
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero(marked_hw.any(axis=axis))
        spans.append(slice(max(0, int(found[0]) - 1), int(found[-1]) + 2) if len(found) else slice(0, 1))
    return spans[0], spans[1]


def _outline(inside_hw: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(N, 2) x and y of a region's outer corners in turn; the lattice of corners has a row and column more."""
    cells = np.pad(inside_hw.astype(np.uint8), ((0, 1), (0, 1)))
    touched = cv2.dilate(cells, _CORNERS, anchor=(1, 1))  # the corners that a cell of it has
    (outline, *_), _ = cv2.findContours(touched, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    smooth = cv2.approxPolyDP(outline, _TOLERANCE, closed=True)
    return np.asarray(smooth if len(smooth) >= 3 else outline, np.int32)[:, 0]
