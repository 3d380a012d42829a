"""Pixels of 12 bits, two in three bytes, as a TIFF has them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

PACKED_BITS = 12


def packed_row(width: int) -> int:
    """Bytes of a row, which ends with a whole one."""
    return (width * PACKED_BITS + 7) // 8


def unpacked(strips: Iterable[bytes | memoryview], height: int, width: int) -> NDArray[np.uint16]:
    """Grey pixels (height, width) of strips of rows, the high bits of each pixel first.

    Raises:
        ValueError: the strips together are no such image.
    """
    packed = b"".join(strips)
    rows = np.frombuffer(packed, np.uint8).reshape(height, packed_row(width))
    whole = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 3))).reshape(height, -1, 3).astype(np.uint16)
    first, middle, last = np.moveaxis(whole, 2, 0)
    pixels = np.stack([first << 4 | middle >> 4, (middle & 15) << 8 | last], axis=2)
    return np.ascontiguousarray(pixels.reshape(height, -1)[:, :width], np.uint16)
