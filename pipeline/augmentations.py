"""Augmentations of good support images: views of the part that count as normal too. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def turned(image: Pixels, degrees: float) -> Pixels:
    """The image (H, W, 3) or (H, W), turned anticlockwise about its centre, at its own size.

    What comes into view from beyond the border is the image mirrored there.
    """
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    seen = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return seen.astype(np.uint8, copy=False)


FLIPS = ("hflip", "vflip", "rot180")
ROTATIONS = tuple(f"rot{degrees}" for degrees in range(30, 360, 30))

AUGMENTATIONS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "hflip": lambda image: image[:, ::-1],
    "vflip": lambda image: image[::-1],
    "rot180": lambda image: image[::-1, ::-1],
    **{name: partial(turned, degrees=int(name[3:])) for name in ROTATIONS if name != "rot180"},
}
"""By name: image (H, W, 3) to a view of equal size."""
