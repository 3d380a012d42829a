"""Where a part was found, and images, maps and points brought to the reference's pose and back. Torch-free.

Places are in lengths of the image's longer side, from the outer corner of its first pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Placement:
    """Where alignment found the part of an image.

    Args:
        size: (height, width) of the upright image.
        matrix: (2, 3) from places in the aligned image to those in the image as it was taken.
        correlation: of the aligned image with the reference, -1 to 1.
        problem: why the image is left as it was taken, the matrix is then that of no change; None: it is aligned.
    """

    size: tuple[int, int]
    matrix: NDArray[np.float64]
    correlation: float
    problem: str | None = None

    @property
    def scale(self) -> float:
        """How many times as long the part is in the image as it was taken."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix[:, :2]))))

    def aligned(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The whole image (H, W) or (H, W, 3), at any size, in the reference's pose; its border goes on beyond it.

        Of an image that could not be aligned the image itself.
        """
        if self.problem is not None:
            return pixels
        return warped(pixels, in_pixels(self.matrix, pixels.shape, self.size), cv2.BORDER_REPLICATE)

    def upright(self, anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse for a map (h, w): over the image as it was taken. Where nothing was seen it is at its least."""
        if self.problem is not None:
            return anomaly_map
        back = np.asarray(cv2.invertAffineTransform(in_pixels(self.matrix, anomaly_map.shape, self.size)), np.float64)
        return warped(anomaly_map, back, cv2.BORDER_CONSTANT, float(anomaly_map.min()))

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) x and y in pixels of the aligned image, which has the upright one's size, as the upright one's."""
        longer = max(self.size)
        return points @ self.matrix[:, :2].T + self.matrix[:, 2] * longer


def align_mask(mask: NDArray[np.bool_], placement: Placement | None) -> NDArray[np.bool_]:
    """A defect's mask (h, w) over an image as it was taken, over the aligned one."""
    return mask if placement is None else placement.aligned(mask.astype(np.uint8)) > 0


def in_pixels(matrix: NDArray[np.float64], shape: Sequence[int], size: tuple[int, int]) -> NDArray[np.float64]:
    """The matrix between pixel centres of an array (H, W, ...) that holds an image of that size, maybe squashed."""
    longer = max(size)
    stretch = np.array([shape[1] * longer / size[1], shape[0] * longer / size[0]])
    linear = matrix[:, :2] * stretch[:, None] / stretch
    return np.hstack([linear, (matrix[:, 2] * stretch + linear @ (0.5, 0.5) - 0.5)[:, None]])


def warped(values: NDArray[Any], matrix: NDArray[np.float64], border: int, beyond: float = 0.0) -> NDArray[Any]:
    """An array (H, W) or (H, W, 3) of which each pixel is the one that the matrix leads to."""
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (values.shape[1], values.shape[0])
    return cv2.warpAffine(values, matrix, size, flags=flags, borderMode=border, borderValue=beyond)
