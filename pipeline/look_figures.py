"""What is kept of an image's look, so that a line's stream can be watched for drift: five figures and two profiles.

They are taken of the look that scoring takes anyway, of every image, and therefore cost little. Torch-free.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from pipeline.look import Look

PROFILE = 64
"""Places of a profile, whatever the image's size."""
_RESIZE = cv2.INTER_AREA


class LookFigures(NamedTuple):
    """What an image looks like, in numbers.

    brightness, contrast: mean and standard deviation of its grey values, 0 to 255. fineness: as in `Look`. red, blue:
    colour casts, as in `Look`. profiles: the mean grey value of each of 64 ranges of columns, from left to right, then
    of 64 ranges of rows, from top to bottom, a byte each: they tell where things stand.
    """

    brightness: float
    contrast: float
    fineness: float
    red: float
    blue: float
    profiles: bytes


def figures_of(look: Look) -> LookFigures:
    """The figures of a look."""
    half = look.half
    mean, deviation = cv2.meanStdDev(half)
    across = cv2.resize(cv2.reduce(half, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F), (PROFILE, 1), interpolation=_RESIZE)
    down = cv2.resize(cv2.reduce(half, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F), (1, PROFILE), interpolation=_RESIZE)
    return LookFigures(
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        fineness=look.fineness,
        red=look.cast[0],
        blue=look.cast[2],
        profiles=np.concatenate([across.ravel(), down.ravel()]).round().astype(np.uint8).tobytes(),
    )
