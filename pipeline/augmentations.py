"""Augmentations of good support images: views of the part that count as normal too. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

AUGMENTATIONS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "hflip": lambda image: image[:, ::-1],
    "vflip": lambda image: image[::-1],
    "rot180": lambda image: image[::-1, ::-1],
}
"""By name, in the order that bank sources number them: image (H, W, 3) to a view of equal size."""
