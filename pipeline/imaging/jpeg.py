"""JPEG by libjpeg-turbo (simplejpeg): scaled while decoding, strict about damage, the GIL released."""

from __future__ import annotations

from typing import NamedTuple

import simplejpeg

from pipeline.errors import ImageError
from pipeline.imaging.encoded import EncodedImage, Pixels, damaged
from pipeline.imaging.orientation import UPRIGHT, exif_orientation

MAGIC = b"\xff\xd8\xff"
_START_OF_SCAN = 0xDA
_BASELINE = 0xC0
_END = b"\xff\xd9"
_APP1 = 0xE1
_STANDALONE = {0x01, *range(0xD0, 0xDA)}  # markers without a length: TEM, RST0-7, SOI, EOI
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-15, without DHT, JPG and DAC
# 1/2, 1/4 and 1/8 have vector code. The scales between cost as much as a full decode and come out less exact.
_LEAST_SCALE = 2.0


def open_jpeg(data: bytes) -> EncodedImage:
    """Read a JPEG's header. Raises `ImageError` for damage, deep samples and print colours."""
    segments = _segments(data)
    if segments.precision not in (None, 8):
        got = f"{segments.precision} bits"
        raise ImageError("a JPEG of 8 bits a sample", got, "save the image as a 16-bit PNG or TIFF")
    try:
        height, width, colour_space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise damaged("JPEG", f"a header that cannot be read ({error})") from error
    if colour_space in ("CMYK", "YCCK"):
        # Ink has no RGB without a press profile; any formula would be a guess that differs from the line's camera.
        raise ImageError("a grey or RGB JPEG", f"print colours ({colour_space})", "convert the image to RGB")
    grey = colour_space == "Gray"

    def decode(least_height: int, least_width: int) -> Pixels:
        try:
            pixels = simplejpeg.decode_jpeg(
                data,
                colorspace="GRAY" if grey else "RGB",
                min_height=least_height,
                min_width=least_width,
                min_factor=_LEAST_SCALE,
            )
        except ValueError as error:
            early = "Premature end" in str(error)
            raise damaged("JPEG", "one that ends early" if early else f"damaged data ({error})") from error
        return pixels[:, :, 0] if grey else pixels

    return EncodedImage(
        format="JPEG",
        height=int(height),
        width=int(width),
        channels=1 if grey else 3,
        bit_depth=8,
        orientation=segments.orientation,
        bgr=False,
        decode=decode,
    )


def is_plain(data: bytes) -> bool:
    """Whether decoders less strict than libjpeg may have this JPEG, whose header `open_jpeg` has read.

    True for what cameras write: one baseline frame of 8 bits, grey or YCbCr, with an end marker behind the scan's
    beginning. A file that ends early has none. What this does not see: a hole or other contents in the middle of a file
    that has its end.
    """
    segments = _segments(data)
    if segments.frames != (_BASELINE,) or data.rfind(_END, segments.scan) < 0:  # usually the last two bytes
        return False
    return simplejpeg.decode_jpeg_header(data)[2] in ("Gray", "YCbCr")


class _Segments(NamedTuple):
    """What stands before the first scan: bits a sample, EXIF orientation, markers of frames; and where it begins."""

    precision: int | None
    orientation: int
    frames: tuple[int, ...]
    scan: int


def _segments(data: bytes) -> _Segments:
    precision: int | None = None
    orientation: int | None = None
    frames: list[int] = []
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:  # fill bytes, or no length to skip
            position += 1 if marker == 0xFF else 2
            continue
        if marker == _START_OF_SCAN:
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if marker in _FRAMES:
            frames.append(marker)
            if precision is None and body:
                precision = body[0]
        elif marker == _APP1 and orientation is None and body.startswith(b"Exif\x00\x00"):
            orientation = exif_orientation(body[6:])
        position += 2 + max(length, 2)
    return _Segments(precision, orientation or UPRIGHT, tuple(frames), position)
