"""An image file whose header is read and whose pixels are not yet decoded: what every format's opener returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageError

COPY_AGAIN = "copy the file again from its source"

Pixels = NDArray[Any]
"""uint8 or uint16, (height, width) or (height, width, 3 or 4), as stored: not yet turned upright."""

Decode = Callable[[int, int], Pixels]
"""(least height, least width) in stored axes -> pixels. A decoder that can scale cheaply may return any size down to
that least one; the others return every pixel, and all do for (0, 0). Raises `ImageError` for damaged data."""


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """A header and a decoder.

    Args:
        format: the format's name, for messages.
        height: stored rows, before the orientation is applied.
        width: stored columns.
        channels: 1, 3 or 4, as decoded (a palette counts as the colours it names).
        bit_depth: 8 or 16, of a decoded channel.
        orientation: EXIF orientation, 1..8; 1 is upright. Already 1 when the decoder itself applies it.
        label: the orientation that the file's EXIF or TIFF tag states, whoever applies it; 1 where there is none.
        bgr: whether colour pixels come as BGR(A) instead of RGB(A).
        decode: gives the pixels; see `Decode`.
    """

    format: str
    height: int
    width: int
    channels: int
    bit_depth: int
    orientation: int
    label: int = 1
    bgr: bool
    decode: Decode

    @property
    def may_be_drawn_on_as_stored(self) -> bool:
        """Whether a label turns or mirrors the image, and its size does not tell the stored pixels from the upright."""
        return self.label != 1 and (self.label <= 4 or self.height == self.width)

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) once the orientation is applied."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def damaged(format_name: str, what: str) -> ImageError:
    """The error for contents that do not decode. `what` completes "got ..."."""
    return ImageError(f"a complete {format_name}", what, COPY_AGAIN)


def as_bytes_array(data: bytes) -> NDArray[np.uint8]:
    """A read-only view of the bytes, as OpenCV wants them."""
    return np.frombuffer(data, np.uint8)


def size_text(size: tuple[int, int]) -> str:
    """A (height, width) as sentences have it."""
    return f"{size[0]} x {size[1]} pixels"


def brightest_value(pixels: Pixels) -> int:
    """The largest grey or colour value; alpha does not count."""
    return int(pixels[..., :3].max() if pixels.ndim == 3 else pixels.max())
