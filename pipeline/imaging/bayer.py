"""Bayer mosaics: one channel in which every pixel has the colour of the filter over it.

Nothing in a PNG, BMP or plain TIFF says that it holds one, so a person states the pattern, once for a line. A mosaic
that nobody spoke of is only asked about.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from pipeline.errors import ImageError
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.encoded import EncodedImage, Pixels
from pipeline.imaging.orientation import UPRIGHT, turn_upright

_CODES = {
    BayerPattern.RGGB: cv2.COLOR_BayerRGGB2RGB,
    BayerPattern.BGGR: cv2.COLOR_BayerBGGR2RGB,
    BayerPattern.GRBG: cv2.COLOR_BayerGRBG2RGB,
    BayerPattern.GBRG: cv2.COLOR_BayerGBRG2RGB,
}

ASKED_ABOUT = 0.25
"""A share, see `looks_like_mosaic`. Of 435 images of thirteen real lines, read as grey, none has more than 0.05; of 105
made into a raw sensor's mosaic none has less than 0.5. One of grey parts in balanced light has little, and is grey."""
_LOOKED_AT = 1024  # pixels of a side, from the middle


def demosaiced(encoded: EncodedImage, pattern: BayerPattern | None) -> EncodedImage:
    """The colour image of a mosaic, by bilinear interpolation; the very image where no pattern is stated.

    Raises:
        ImageError: it has colours already, or was compressed as if neighbouring pixels were alike.
    """
    if pattern is None:
        return encoded
    if encoded.channels != 1 or encoded.format == "JPEG":
        got = "colour" if encoded.channels != 1 else "a JPEG, which blurs the colours into one another"
        remedy = "set the camera as it was, or adapt the line again without --bayer"
        raise ImageError(f"a Bayer mosaic ({pattern}) of one channel in a PNG, BMP or TIFF", got, remedy)
    # Rows that only the file holds from the bottom up were not so on the sensor; an EXIF label turns what was.
    turned_by_file = encoded.label == UPRIGHT

    def decode(_least_height: int, _least_width: int) -> Pixels:
        pixels = encoded.decode(0, 0)
        if turned_by_file:
            pixels = turn_upright(pixels, encoded.orientation)
        return cv2.cvtColor(np.ascontiguousarray(pixels), _CODES[pattern])

    orientation = UPRIGHT if turned_by_file else encoded.orientation
    return replace(encoded, channels=3, bgr=False, orientation=orientation, decode=decode)


def looks_like_mosaic(encoded: EncodedImage, pixels: Pixels) -> bool:
    """Whether an image of one channel has a checker of two by two pixels all over, as a colour sensor's pixels have.

    In a picture the two diagonals of such a square differ now one way, now the other; in a mosaic, green being brighter
    or darker than red and blue together, mostly one way.

    Args:
        encoded: the image.
        pixels: all of its pixels, as stored.
    """
    if pixels.ndim != 2 or encoded.format == "JPEG":
        return False
    top, left = ((side - _LOOKED_AT) // 4 * 2 if side > _LOOKED_AT else 0 for side in pixels.shape)
    middle = pixels[top : top + _LOOKED_AT, left : left + _LOOKED_AT].astype(np.int32)
    middle = middle[: middle.shape[0] // 2 * 2, : middle.shape[1] // 2 * 2]
    checker = middle[::2, ::2] + middle[1::2, 1::2] - middle[::2, 1::2] - middle[1::2, ::2]
    clear = np.abs(checker) >= 2  # half of it is what the diagonals differ by: a grey level
    return abs(int(np.sign(checker[clear]).sum())) > ASKED_ABOUT * checker.size
