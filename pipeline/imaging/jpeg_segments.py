"""What stands in a JPEG before its first scan, read as libjpeg reads it: past bytes that belong to no segment."""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.imaging.orientation import UPRIGHT, exif_orientation

END = b"\xff\xd9"
BASELINE = 0xC0
_START_OF_SCAN = 0xDA
_APP0, _APP1 = 0xE0, 0xE1
_STANDALONE = {0x01, *range(0xD0, 0xDA)}  # markers without a length: TEM, RST0-7, SOI, EOI
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-15, without DHT, JPG and DAC
_MARKER = re.compile(rb"\xff+[^\x00\xff]", re.DOTALL)  # with its fill bytes


class JpegSegments(NamedTuple):
    """What stands before the first scan.

    `precision`: bits a sample. `orientation`: EXIF's, 1..8. `frames`: their markers. `scan`: where its marker begins.
    `stray`: the places of bytes that belong to no segment. `jfif_version`: the place of its two bytes.
    """

    precision: int | None
    orientation: int
    frames: tuple[int, ...]
    scan: int
    stray: tuple[slice, ...]
    jfif_version: int | None


def read_segments(data: bytes) -> JpegSegments:
    """Read a JPEG's segments, whatever is in them; nothing is refused here."""
    precision: int | None = None
    orientation: int | None = None
    jfif_version: int | None = None
    frames: list[int] = []
    stray: list[slice] = []
    position = 2
    while (found := _MARKER.search(data, position)) is not None:
        if found.start() > position:
            stray.append(slice(position, found.start()))
        position, marker = found.end(), data[found.end() - 1]
        if marker == _START_OF_SCAN:
            position -= 2
            break
        if marker in _STANDALONE:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + length]
        if marker in _FRAMES:
            frames.append(marker)
            if precision is None and body:
                precision = body[0]
        elif marker == _APP0 and body.startswith(b"JFIF\x00"):
            jfif_version = position + 2 + len(b"JFIF\x00")
        elif marker == _APP1 and orientation is None and body.startswith(b"Exif\x00\x00"):
            orientation = exif_orientation(body[6:])
        position += max(length, 2)
    return JpegSegments(precision, orientation or UPRIGHT, tuple(frames), position, tuple(stray), jfif_version)
