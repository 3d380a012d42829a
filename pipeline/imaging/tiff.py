"""TIFF: uncompressed pixels by tifffile (much faster than OpenCV), lossless compression by OpenCV's libtiff.

Where the pixels lie in the file as they are shown, they are looked at there and nothing is read.
"""

from __future__ import annotations

import math
import sys
from io import BytesIO

import numpy as np
import tifffile
from tifffile import COMPRESSION, FILLORDER, PHOTOMETRIC, PLANARCONFIG, PREDICTOR, SAMPLEFORMAT, TiffPage

from pipeline.errors import ImageError
from pipeline.imaging.encoded import COPY_AGAIN, EncodedImage, Pixels, damaged
from pipeline.imaging.opencv import decode_with_opencv
from pipeline.imaging.orientation import UPRIGHT
from pipeline.imaging.packed_pixels import PACKED_BITS, packed_row, unpacked

MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")  # classic and BigTIFF
# libtiff inflates strip by strip into buffers of the declared size; a generic inflate has no such bound.
_LOSSLESS = (COMPRESSION.LZW, COMPRESSION.DEFLATE, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.PACKBITS)
_GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
_SAVE_PLAIN = "save the image as an uncompressed 8- or 16-bit TIFF or as PNG"


def open_tiff(data: bytes) -> EncodedImage:
    """Read a TIFF's directory. Raises `ImageError` for damage and for what a line camera does not write."""
    try:
        return _encoded(data, BytesIO(data))
    except ImageError:
        raise
    except Exception as error:  # tifffile lets through whatever struct, numpy or an enum raises on a damaged directory
        raise damaged("TIFF", f"a directory that cannot be read ({error})") from error


def _only_page(contents: BytesIO) -> TiffPage:
    file = tifffile.TiffFile(contents)
    page = file.pages.first
    try:
        second = file.pages[1]
    except IndexError:
        second = None
    if isinstance(second, TiffPage) and not second.is_reduced:  # a reduced page is a thumbnail or a pyramid level
        raise ImageError("one image in a TIFF", "several pages", "save each page as a file of its own")
    return page


def _encoded(data: bytes, contents: BytesIO) -> EncodedImage:
    page = _only_page(contents)
    _refuse_unknown(page)
    compressed = page.compression != COMPRESSION.NONE
    _refuse_cut_off(data, page, compressed=compressed)
    if compressed:
        _refuse_compressed_oddities(page)
    tag = page.tags.get("Orientation")
    stored = int(tag.value) if tag is not None and tag.value in range(1, 9) else UPRIGHT
    swapped = compressed and stored >= 5  # libtiff in OpenCV turns the image itself
    white_is_zero = page.photometric == PHOTOMETRIC.MINISWHITE
    packed = _packed_strips(data, page) if page.bitspersample == PACKED_BITS else None
    in_place = None if compressed or packed is not None else _in_place(data, page)
    if compressed or packed is not None or in_place is not None:
        contents.close()  # page and file hold each other: the bytes would stay until the garbage collector comes

    def decode(_least_height: int, _least_width: int) -> Pixels:
        if compressed:
            return decode_with_opencv(data, "TIFF")
        if packed is not None:
            return unpacked(packed, page.imagelength, page.imagewidth)
        pixels = in_place if in_place is not None else _read_plain(page)
        return np.iinfo(pixels.dtype).max - pixels if white_is_zero else pixels

    return EncodedImage(
        format="TIFF",
        height=page.imagewidth if swapped else page.imagelength,
        width=page.imagelength if swapped else page.imagewidth,
        channels=min(page.samplesperpixel, 4) if page.samplesperpixel > 2 else 1,
        bit_depth=8 if _bits(page) == 8 else 16,
        orientation=UPRIGHT if compressed else stored,
        label=stored,
        bgr=compressed,
        decode=decode,
    )


def _bits(page: TiffPage) -> int:
    bits = page.bitspersample
    return bits if isinstance(bits, int) else max(bits)


def _refuse_unknown(page: TiffPage) -> None:
    if page.compression not in (COMPRESSION.NONE, *_LOSSLESS):
        name = getattr(page.compression, "name", str(page.compression))
        raise ImageError(
            "a TIFF without compression, or with LZW, Deflate or PackBits", f"{name} compression", _SAVE_PLAIN
        )
    if page.sampleformat != SAMPLEFORMAT.UINT or not (page.bitspersample in (8, 16) or _is_packed(page)):
        kind = SAMPLEFORMAT(page.sampleformat).name
        raise ImageError("a TIFF of 8 or 16 bits a sample", f"{page.bitspersample} bits ({kind})", _SAVE_PLAIN)
    grey = page.photometric in _GREY and page.samplesperpixel in (1, 2)
    colour = page.photometric == PHOTOMETRIC.RGB and page.samplesperpixel in (3, 4)
    if not (grey or colour) or page.imagedepth != 1:
        name = getattr(page.photometric, "name", str(page.photometric))
        raise ImageError("a grey or RGB TIFF", f"{name} with {page.samplesperpixel} samples a pixel", _SAVE_PLAIN)


def _is_packed(page: TiffPage) -> bool:
    """Whether it is what cameras of 12 bits are saved as: grey, rows of strips, high bits first, black zero."""
    grey = page.samplesperpixel == 1 and page.photometric == PHOTOMETRIC.MINISBLACK
    plain = page.compression == COMPRESSION.NONE and not page.is_tiled and page.fillorder == FILLORDER.MSB2LSB
    return page.bitspersample == PACKED_BITS and grey and plain


def _packed_strips(data: bytes, page: TiffPage) -> list[memoryview]:
    """The strips, none longer than its rows. Raises `ImageError` where one is not as long."""
    row = packed_row(page.imagewidth)
    strips, left = [], page.imagelength
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        rows = min(left, page.rowsperstrip)
        strips.append(memoryview(data)[offset : offset + row * rows])
        left -= rows
        if count < row * rows:
            raise damaged("TIFF", "one that ends early")
    if left:
        raise damaged("TIFF", "one without a whole list of its strips")
    return strips


def _refuse_cut_off(data: bytes, page: TiffPage, *, compressed: bool) -> None:
    counts, offsets = page.databytecounts, page.dataoffsets
    if not counts or len(counts) != len(offsets):
        raise damaged("TIFF", "one without a whole list of its strips")
    needed = page.imagelength * page.imagewidth * page.samplesperpixel * _bits(page) // 8
    ends = max(offset + count for offset, count in zip(offsets, counts, strict=True))
    if ends > len(data) or (not compressed and sum(counts) < needed):
        raise damaged("TIFF", "one that ends early")


def _refuse_compressed_oddities(page: TiffPage) -> None:
    """OpenCV multiplies alpha in, mixes up separate 16-bit planes, and inverts only some white-is-zero images."""
    odd = {
        "an alpha channel": page.samplesperpixel in (2, 4),
        "separate colour planes": page.planarconfig == PLANARCONFIG.SEPARATE and page.samplesperpixel > 1,
        "white as zero": page.photometric == PHOTOMETRIC.MINISWHITE,
    }
    for what, present in odd.items():
        if present:
            raise ImageError(f"a compressed TIFF without {what}", f"compression and {what}", _SAVE_PLAIN)


def _in_place(data: bytes, page: TiffPage) -> Pixels | None:
    """A view of the pixels where they lie one after another as this machine reads them; None where they do not."""
    bits, samples, offsets = _bits(page), page.samplesperpixel, page.dataoffsets
    ends = [offset + count for offset, count in zip(offsets, page.databytecounts, strict=True)]
    as_shown = not page.is_tiled and page.fillorder == FILLORDER.MSB2LSB and page.predictor == PREDICTOR.NONE
    joined = samples == 1 or (samples > 2 and page.planarconfig == PLANARCONFIG.CONTIG)
    native = bits == 8 or page.parent.byteorder == {"little": "<", "big": ">"}[sys.byteorder]
    size = (page.imagelength, page.imagewidth, samples)[: 2 if samples == 1 else 3]
    whole = offsets[0] + math.prod(size) * bits // 8 <= len(data) and ends[:-1] == list(offsets[1:])
    if not (as_shown and joined and native and whole):
        return None
    return np.ndarray(size, np.uint8 if bits == 8 else np.uint16, data, offsets[0])


def _read_plain(page: TiffPage) -> Pixels:
    try:
        pixels = page.asarray()
    except Exception as error:  # see open_tiff
        raise ImageError("a complete TIFF", f"damaged data ({error})", COPY_AGAIN) from error
    if pixels.ndim == 3 and page.planarconfig == PLANARCONFIG.SEPARATE:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and page.samplesperpixel == 2:
        pixels = pixels[:, :, 0]
    size = (page.imagelength, page.imagewidth)
    promised = size if page.samplesperpixel <= 2 else (*size, page.samplesperpixel)
    if pixels.shape != promised or pixels.dtype not in (np.uint8, np.uint16):
        raise damaged("TIFF", f"pixels of shape {pixels.shape}, not what its directory says")
    return np.ascontiguousarray(pixels)
