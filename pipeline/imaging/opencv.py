"""PNG and BMP: headers read here, pixels decoded by OpenCV, which reads files that end early without complaint.

A plain BMP's rows lie in the file as they are shown, so they are looked at there and nothing is decoded.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

from pipeline.errors import ImageError
from pipeline.imaging.encoded import EncodedImage, Pixels, as_bytes_array, damaged
from pipeline.imaging.orientation import UPRIGHT, UPSIDE_DOWN, exif_orientation

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
BMP_MAGIC = b"BM"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}  # by colour type; OpenCV gives grey with alpha as BGRA
_BMP_CORE_HEADER = 12
_EVERY_GREY = [bytes([level] * 3) for level in range(256)]
_BMP_UNCOMPRESSED = (0, 3, 6)  # BI_RGB and the two bit-field layouts; the others are run lengths


def decode_with_opencv(data: bytes, format_name: str) -> Pixels:
    """Every pixel at its own depth and channels (BGR), unturned. Raises `ImageError` for damaged data."""
    try:
        pixels = cv2.imdecode(as_bytes_array(data), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise damaged(format_name, f"data that OpenCV refuses ({error.err})") from error
    if pixels is None:
        raise damaged(format_name, "damaged data")
    return pixels


def open_png(data: bytes) -> EncodedImage:
    """Read a PNG's header and chunk list. Raises `ImageError` where it ends early or is animated."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise damaged("PNG", "one without a whole header")
    width, height, bits, colour_type = struct.unpack_from(">IIBB", data, 16)
    if colour_type not in _PNG_CHANNELS:
        raise damaged("PNG", f"the unknown colour type {colour_type}")
    channels = _PNG_CHANNELS[colour_type]
    orientation: int | None = None
    position, kind = len(PNG_MAGIC), b""
    while position + 12 <= len(data) and kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        if kind == b"eXIf" and orientation is None:
            orientation = exif_orientation(_checked_body(data, position, length))
        elif kind == b"acTL" and (frames := int.from_bytes(data[position + 8 : position + 12], "big")) > 1:
            raise ImageError("one image in a PNG", f"an animation of {frames}", "save each as a file of its own")
        elif kind == b"tRNS" and channels == 3:  # one colour, or palette entries, made transparent
            channels = 4
        position += 12 + length
    if kind != b"IEND" or position > len(data):
        raise damaged("PNG", "one that ends early")
    return EncodedImage(
        format="PNG",
        height=height,
        width=width,
        channels=channels,
        bit_depth=16 if bits == 16 else 8,
        orientation=orientation or UPRIGHT,
        label=orientation or UPRIGHT,
        bgr=True,
        decode=lambda _height, _width: decode_with_opencv(data, "PNG"),
    )


def _checked_body(data: bytes, position: int, length: int) -> bytes:
    """A chunk's contents, held against its checksum: OpenCV does that for those that it reads itself."""
    end = position + 8 + length
    if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
        raise damaged("PNG", "one with a wrong checksum")
    return data[position + 8 : end]


def open_bmp(data: bytes) -> EncodedImage:
    """Read a BMP's header. Raises `ImageError` when it ends early."""
    if len(data) < 54:
        raise damaged("BMP", "one without a whole header")
    pixel_offset, header_size = struct.unpack_from("<II", data, 10)
    if header_size == _BMP_CORE_HEADER:
        width, height, _planes, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    from_the_top, height = height < 0, abs(height)
    if width < 0 or bits not in (1, 4, 8, 16, 24, 32):
        raise damaged("BMP", f"a width of {width} and {bits} bits a pixel")
    if compression not in (*_BMP_UNCOMPRESSED, 1, 2):
        raise ImageError("a plain or run-length BMP", f"compression {compression}", "save the image as PNG")
    if compression in _BMP_UNCOMPRESSED and len(data) < pixel_offset + (width * bits + 31) // 32 * 4 * height:
        raise damaged("BMP", "one that ends early")
    colours = _bmp_palette(data, bits, header_size, pixel_offset)
    plain = compression == 0 and (bits == 24 or (bits == 8 and colours == _EVERY_GREY))

    def decode(_least_height: int, _least_width: int) -> Pixels:
        return _bmp_rows(data, pixel_offset, height, width, bits // 8) if plain else decode_with_opencv(data, "BMP")

    return EncodedImage(
        format="BMP",
        height=height,
        width=width,
        channels=_bmp_channels(bits, colours),
        bit_depth=8,
        orientation=UPSIDE_DOWN if plain and not from_the_top else UPRIGHT,
        bgr=True,
        decode=decode,
    )


def _bmp_palette(data: bytes, bits: int, header_size: int, pixel_offset: int) -> list[bytes]:
    """The colours that pixels of up to 8 bits name."""
    entry = 3 if header_size == _BMP_CORE_HEADER else 4
    palette = data[14 + header_size : pixel_offset] if bits <= 8 else b""
    return [palette[start : start + 3] for start in range(0, len(palette) - 2, entry)]


def _bmp_channels(bits: int, colours: list[bytes]) -> int:
    """1 for a grey palette, else the stored channels."""
    if bits > 8:
        return 4 if bits == 32 else 3
    return 1 if all(colour[0] == colour[1] == colour[2] for colour in colours) else 3


def _bmp_rows(data: bytes, offset: int, height: int, width: int, channels: int) -> Pixels:
    """A view of the rows where they lie, each padded to whole words."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    strides = ((width * channels + 3) // 4 * 4, channels, 1)[: len(shape)]
    return np.ndarray(shape, np.uint8, data, offset, strides)
