"""Regions: the connected parts of an anomaly map that are marked, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_FINER = 8  # a cell of the finest grid is this many pixels of the network's input: areas are told as pictures show them


def largest_region(anomaly_map_hw: NDArray[np.float32], pixel_threshold: float) -> float:
    """Area of the largest region, as a share of the image: 0 (nothing is marked) to 1.

    A region is a connected component (8 neighbours) of the map at or above the threshold, the map brought bilinearly to
    eight times its grid, as the heat map's contour is.
    """
    finer = cv2.resize(anomaly_map_hw, None, fx=_FINER, fy=_FINER, interpolation=cv2.INTER_LINEAR)
    marked = (finer >= pixel_threshold).astype(np.uint8)
    _, _, statistics, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]  # the first is what is not marked
    return float(areas.max()) / marked.size if len(areas) else 0.0


def share_of_image(area: float, sizes: Sequence[tuple[int, int]], *, millimetres_per_pixel: float | None) -> float:
    """An area as a share of an image, 0..1 and above where it is larger than one.

    Args:
        area: in pixels, or in square millimetres where `millimetres_per_pixel` is given.
        sizes: (height, width) in pixels of the images that are meant; where they differ, their median area counts.
        millimetres_per_pixel: side of a pixel on the part; None: the area is in pixels.
    """
    pixels = float(np.median([height * width for height, width in sizes]))
    return area / (millimetres_per_pixel or 1.0) ** 2 / pixels
