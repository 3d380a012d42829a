"""Image files of every kind, made by hand where no library writes them, and why a file is refused."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import tifffile

from pipeline.imaging.images import (
    ImageLimits,
    PreprocessSpec,
    UnreadableImage,
    read_image,
)

SPEC = PreprocessSpec(height=32, width=48)
TURNED = {  # what the viewer sees, from what is stored
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def picture(height: int = 120, width: int = 90, seed: int = 0) -> np.ndarray:
    """Smooth colours without any symmetry, uint8 RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def png(pixels_rgb: np.ndarray) -> bytes:
    if pixels_rgb.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if pixels_rgb.shape[2] == 4 else cv2.COLOR_RGB2BGR
        pixels_rgb = cv2.cvtColor(pixels_rgb, code)
    return cv2.imencode(".png", pixels_rgb)[1].tobytes()


def bmp(pixels_rgb: np.ndarray) -> bytes:
    return cv2.imencode(".bmp", pixels_rgb if pixels_rgb.ndim == 2 else pixels_rgb[:, :, ::-1])[1].tobytes()


def tiff(pixels: np.ndarray, *, byteorder=None, bigtiff=False, **options) -> bytes:
    options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer, byteorder=byteorder, bigtiff=bigtiff) as writer:
        writer.write(pixels, metadata=None, **options)
    return buffer.getvalue()


def packed_tiff(pixels: np.ndarray, rows_per_strip: int | None = None) -> bytes:
    """A grey TIFF of 12 bits a pixel, written bit by bit, rows ending with a whole byte."""
    height, width = pixels.shape
    row_bytes = (12 * width + 7) // 8
    bits = ["".join(f"{value:012b}" for value in row).ljust(8 * row_bytes, "0") for row in pixels.tolist()]
    packed = [int(row, 2).to_bytes(row_bytes, "big") for row in bits]
    step = rows_per_strip or height
    strips = [b"".join(packed[start : start + step]) for start in range(0, height, step)]
    count = len(strips)
    tags = 9
    lists = 8 + 2 + 12 * tags + 4
    starts = np.cumsum([lists + 8 * count, *map(len, strips)])[:-1].tolist()
    lengths = [len(strip) for strip in strips]
    offset_value, count_value = (starts[0], lengths[0]) if count == 1 else (lists, lists + 4 * count)
    fields = [(256, width), (257, height), (258, 12), (259, 1), (262, 1)]
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in fields]
    entries += [
        struct.pack("<HHII", 273, 4, count, offset_value),
        struct.pack("<HHIHH", 277, 3, 1, 1, 0),
        struct.pack("<HHII", 278, 4, 1, step),
        struct.pack("<HHII", 279, 4, count, count_value),
    ]
    head = b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", tags) + b"".join(entries) + struct.pack("<I", 0)
    return head + struct.pack(f"<{2 * count}I", *starts, *lengths) + b"".join(strips)


def jpeg(pixels_rgb: np.ndarray, quality: int = 95) -> bytes:
    grey = pixels_rgb.ndim == 2
    pixels = np.ascontiguousarray(pixels_rgb[:, :, None] if grey else pixels_rgb)
    return simplejpeg.encode_jpeg(
        pixels, quality=quality, colorspace="GRAY" if grey else "RGB", colorsubsampling="Gray" if grey else "444"
    )


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, bits: int = 8, colour_type: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))


def exif_block(orientation: int, order: str = "<") -> bytes:
    magic = b"II" if order == "<" else b"MM"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return magic + struct.pack(f"{order}HIH", 42, 8, 1) + entry + bytes(4)


def jpeg_with_exif(data: bytes, exif: bytes) -> bytes:
    body = b"Exif\x00\x00" + exif
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def png_with_exif(data: bytes, exif: bytes) -> bytes:
    return data[:33] + png_chunk(b"eXIf", exif) + data[33:]


def cmyk_jpeg() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 4), np.uint8)
    return simplejpeg.encode_jpeg(pixels, colorspace="CMYK", colorsubsampling="444")


def reason(path: Path, limits: ImageLimits | None = None) -> str:
    result = read_image(path, SPEC, limits or ImageLimits())
    assert isinstance(result, UnreadableImage), result
    return result.reason


GREY = picture()[:, :, 0].copy()
DEEP = GREY.astype(np.uint16) * 257
DEEP_COLOUR = picture().astype(np.uint16) * 257
ALPHA = np.dstack([picture(), np.full((120, 90), 7, np.uint8)])
