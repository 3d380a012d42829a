"""JPEG by libjpeg-turbo (simplejpeg): scaled while decoding, strict about damage, the GIL released.

What libjpeg remarks on though no pixel hangs on it is put right first (`jpeg_remarks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import simplejpeg

from pipeline.errors import ImageError
from pipeline.imaging.encoded import EncodedImage, Pixels, damaged
from pipeline.imaging.jpeg_remarks import without_remark
from pipeline.imaging.jpeg_segments import BASELINE, END, read_segments

T = TypeVar("T")

MAGIC = b"\xff\xd8\xff"
_REMARKS = 4  # so many are put right in one file; a camera makes one or two
# 1/2, 1/4 and 1/8 have vector code. The scales between cost as much as a full decode and come out less exact.
_LEAST_SCALE = 2.0


def open_jpeg(data: bytes) -> EncodedImage:
    """Read a JPEG's header. Raises `ImageError` for damage, deep samples and print colours."""
    segments = read_segments(data)
    if segments.precision not in (None, 8):
        got = f"{segments.precision} bits"
        raise ImageError("a JPEG of 8 bits a sample", got, "save the image as a 16-bit PNG or TIFF")
    try:
        height, width, colour_space = _strictly(_header, data)
    except ValueError as error:
        raise damaged("JPEG", f"a header that cannot be read ({error})") from error
    if colour_space in ("CMYK", "YCCK"):
        # Ink has no RGB without a press profile; any formula would be a guess that differs from the line's camera.
        raise ImageError("a grey or RGB JPEG", f"print colours ({colour_space})", "convert the image to RGB")
    grey = colour_space == "Gray"

    def decode(least_height: int, least_width: int) -> Pixels:
        def decode_bytes(data: bytes) -> Pixels:
            return simplejpeg.decode_jpeg(
                data,
                colorspace="GRAY" if grey else "RGB",
                min_height=least_height,
                min_width=least_width,
                min_factor=_LEAST_SCALE,
            )

        try:
            pixels = _strictly(decode_bytes, data)
        except ValueError as error:
            early = "Premature end" in str(error)
            raise damaged("JPEG", "one that ends early" if early else f"damaged data ({error})") from error
        return pixels[:, :, 0] if grey else pixels

    return EncodedImage(
        format="JPEG",
        height=height,
        width=width,
        channels=1 if grey else 3,
        bit_depth=8,
        orientation=segments.orientation,
        label=segments.orientation,
        bgr=False,
        decode=decode,
    )


def is_plain(data: bytes) -> bool:
    """Whether decoders less strict than libjpeg may have this JPEG, whose header `open_jpeg` has read.

    True for what cameras write: one baseline frame of 8 bits, grey or YCbCr, with an end marker behind the scan's
    beginning. A file that ends early has none. What this does not see: a hole or other contents in the middle of a file
    that has its end.
    """
    segments = read_segments(data)
    if segments.frames != (BASELINE,) or data.rfind(END, segments.scan) < 0:  # usually the last two bytes
        return False
    return _strictly(_header, data)[2] in ("Gray", "YCbCr")


def _header(data: bytes) -> tuple[int, int, str]:
    height, width, colour_space, _ = simplejpeg.decode_jpeg_header(data)
    return int(height), int(width), colour_space


def _strictly(read: Callable[[bytes], T], data: bytes) -> T:
    """What `read` makes of the data, without a remark of libjpeg's but harmless ones. Raises its `ValueError`."""
    for _ in range(_REMARKS):
        try:
            return read(data)
        except ValueError as error:
            mended = without_remark(data, str(error))
            if mended is None:
                raise
            data = mended
    return read(data)
