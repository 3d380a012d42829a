"""Masks of defects: which pixels are marked, and which files are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageError
from pipeline.imaging.encoded import EncodedImage, size_text
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import image_limits, naming, open_image
from pipeline.imaging.orientation import turn_upright


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A defect mask (h, w): True where any colour channel is not zero.

    Args:
        path: a lossless image; JPEG is refused, because its noise around edges is not zero.
        size: (h, w) of the upright image the mask belongs to.

    Raises:
        ImageError: the file cannot be used, or its size differs.
    """
    with naming(path):
        encoded = open_mask(path)
        if encoded.format == "JPEG":
            raise ImageError("a lossless mask", "a JPEG, whose noise is not zero", "save the mask as PNG")
        if encoded.upright_size != tuple(size):
            expected, got = size_text(size), size_text(encoded.upright_size)
            remedy = "save the mask at the image's size"
            if encoded.upright_size == (size[1], size[0]):
                remedy = "draw the mask on the upright image, as viewers show it: its EXIF may turn the stored pixels"
            raise ImageError(f"a mask of its image's size, {expected}", got, remedy)
        pixels = turn_upright(encoded.decode(0, 0), encoded.orientation)
    return pixels != 0 if pixels.ndim == 2 else (pixels[:, :, :3] != 0).any(axis=2)


def open_mask(path: Path) -> EncodedImage:
    """Read a mask's header; it may be as small as a pixel. Raises `ImageError` without naming the path."""
    limits = replace(image_limits(), min_side=1)
    return open_image(read_bytes(path, limits.max_bytes), limits)
