"""EXIF orientation: read without trusting the file, and applied on purpose."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pipeline.imaging.encoded import Pixels

UPRIGHT, UPSIDE_DOWN = 1, 4  # the latter: rows from the bottom up
_ORIENTATION_TAG = 0x0112
_SHORT = 3
_ENTRY_BYTES = 12


def exif_orientation(exif: bytes) -> int:
    """The orientation (1..8) in a TIFF-structured EXIF block.

    A block that is cut off, malformed or silent about it means upright: pixels are never refused for a bad label.
    """
    if exif[:2] not in (b"II", b"MM") or len(exif) < 8:
        return UPRIGHT

    def number(start: int, size: int) -> int:
        return int.from_bytes(exif[start : start + size], "little" if exif[:2] == b"II" else "big")

    if number(2, 2) != 42:
        return UPRIGHT
    directory = number(4, 4)
    entries = number(directory, 2) if directory + 2 <= len(exif) else 0
    for index in range(entries):
        entry = directory + 2 + index * _ENTRY_BYTES
        if entry + _ENTRY_BYTES > len(exif):
            return UPRIGHT
        if number(entry, 2) == _ORIENTATION_TAG:
            value = number(entry + 8, 2)
            return value if number(entry + 2, 2) == _SHORT and 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels as the camera meant them to be seen, contiguous and of their own; 5..8 swap the sides."""
    turn = _TURNS.get(orientation)
    return np.require(pixels, requirements=("C", "W")) if turn is None else turn(pixels)
