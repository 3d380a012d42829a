"""Decode and resize: one torch-free path for support, meta-training and scoring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec:
    """How a file becomes the backbone's input: uint8 RGB of exactly `height` x `width`, by AREA resize.

    `white_level` maps deeper than 8-bit pixels: 0..white_level becomes 0..255 (None: the dtype's full range). It is a
    property of the line's camera, fixed at adaptation, never of one image. Normalisation is in the graph.
    """

    height: int
    width: int
    white_level: int | None = None


@dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """What is refused before a pixel is decoded."""

    max_pixels: int = 100_000_000
    max_bytes: int = 512 * 1024 * 1024
    min_side: int = 16


@dataclass(frozen=True)
class DecodedImage:
    """A usable image: `pixels` is uint8 RGB (height, width, 3) of the spec; `source_size` is (height, width) on disk."""

    path: Path
    sha256: str
    pixels: NDArray[np.uint8]
    source_size: tuple[int, int]
    bit_depth: int


@dataclass(frozen=True)
class UnreadableImage:
    """An image that could not be used, as a value: scoring goes on, the report and the store name it."""

    path: Path
    sha256: str | None
    reason: str
