"""Images that a caller holds as numpy arrays: checked here, and from there on like the pixels of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageError
from pipeline.imaging.encoded import EncodedImage
from pipeline.imaging.orientation import UPRIGHT

_DEPTHS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}


def array_image(pixels: NDArray[Any], *, bgr: bool = False) -> EncodedImage:
    """An array as an opened image, upright and stored without loss.

    Args:
        pixels: uint8 or uint16, grey (H, W) or colour (H, W, 3). Kept, not copied, unless it lies in pieces.
        bgr: whether colour is blue first, as OpenCV has it, instead of red first.

    Raises:
        ImageError: it is no array, or one of another type or shape, or an empty one.
    """
    wanted = "an array of uint8 or uint16, (H, W) or (H, W, 3)"
    if isinstance(pixels, bytearray | memoryview):  # numpy would make a row of numbers of them
        raise ImageError(wanted, type(pixels).__name__, "pass a file's contents as bytes, its pixels as an array")
    if not isinstance(pixels, np.ndarray):
        raise ImageError(wanted, type(pixels).__name__, "convert it with numpy.asarray")
    got = f"{pixels.dtype} {pixels.shape}"
    if pixels.dtype not in _DEPTHS:
        raise ImageError(wanted, got, "pass the camera's own values, neither scaled nor normalised")
    if pixels.size == 0:
        raise ImageError(wanted, f"an empty one, {got}", "pass an image with pixels")
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] != 3):
        remedy = "pass one image without a batch axis, its channels last, without alpha"
        raise ImageError(wanted, got, remedy)
    whole = np.ascontiguousarray(pixels)
    return EncodedImage(
        format="array",
        height=pixels.shape[0],
        width=pixels.shape[1],
        channels=1 if pixels.ndim == 2 else 3,
        bit_depth=_DEPTHS[pixels.dtype],
        orientation=UPRIGHT,
        bgr=bgr,
        decode=lambda _height, _width: whole,
    )
