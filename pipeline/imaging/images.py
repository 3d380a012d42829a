"""Decode and resize: one torch-free path for support, meta-training and scoring.

A file is read once; its hash and its pixels come from the same bytes. What it is follows from those bytes, never from
its suffix, and its size is checked before a pixel is decoded. The format modules (`jpeg`, `opencv`,
`tiff`) read headers and decode; this module checks, resizes and turns.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, ImageError
from pipeline.imaging import jpeg as image_jpeg
from pipeline.imaging import opencv as image_opencv
from pipeline.imaging import tiff as image_tiff
from pipeline.imaging.alignment import Alignment, fit_aligned
from pipeline.imaging.arrays import array_image
from pipeline.imaging.bayer import demosaiced
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.encoded import EncodedImage, Pixels, brightest_value, size_text
from pipeline.imaging.files import RAISE_THE_LIMIT, read_bytes
from pipeline.imaging.orientation import turn_upright
from pipeline.imaging.other_contents import refused_contents
from pipeline.imaging.placement import Placement
from pipeline.imaging.resizing import OVERSAMPLING, resize
from pipeline.settings import DEFAULT_MAX_PIXELS, load_settings


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec:
    """How a file becomes the backbone's input: uint8 RGB of exactly `height` x `width`, by AREA resize.

    `white_level` maps deeper than 8-bit pixels: 0..white_level becomes 0..255 (None: the dtype's full range). It is a
    property of the line's camera, fixed at adaptation, never of one image. Normalisation is in the graph.

    `bayer`: images of one channel are mosaics of this pattern and become colour; None: they are grey.

    `alignment`: the part is brought to its pose before the resize; None: images are looked at as they were taken.
    """

    height: int
    width: int
    white_level: int | None = None
    bayer: BayerPattern | None = None
    alignment: Alignment | None = None

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ConfigError("a height and width of at least 1", f"{self.height} x {self.width}", "set both")
        if self.white_level is not None and not 1 <= self.white_level <= 65535:
            raise ConfigError("a white level of 1..65535 or none", str(self.white_level), "use the camera's, e.g. 4095")


@dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """What is refused before a pixel is decoded: too many pixels, a file longer than they can be, too short a side."""

    max_pixels: int = DEFAULT_MAX_PIXELS
    min_side: int = 16

    @property
    def max_bytes(self) -> int:
        """Of a file: as many as the pixels take in colour and 16 bits, and no less than half a gibibyte."""
        return max(512 * 1024 * 1024, 6 * self.max_pixels)


Opener = Callable[[bytes, ImageLimits], EncodedImage]
"""Reads and checks a header as `open_image` does; what it returns may decode elsewhere, such as on a GPU."""


def image_limits() -> ImageLimits:
    """The limits that this machine is set to (LINEWISE_MAX_PIXELS), which hold wherever no others are given."""
    return _limits_of(os.environ.get("LINEWISE_MAX_PIXELS"))


@cache
def _limits_of(_setting: str | None) -> ImageLimits:
    return ImageLimits(max_pixels=load_settings().max_pixels)


@dataclass(frozen=True)
class DecodedImage:
    """A usable image: `pixels` is uint8 RGB (height, width, 3) of the spec.

    `source_size` is the (height, width) of the upright image before the resize; `bit_depth` is 8 or 16, as stored.
    `brightest` is the largest value of the stored pixels where they have 16 bits, else 255. `colour`: not mono.
    `placement`: where alignment found the part; None: the spec aligns nothing.
    """

    path: Path
    sha256: str
    pixels: NDArray[np.uint8]
    source_size: tuple[int, int]
    bit_depth: int
    brightest: int = 255
    colour: bool = True
    placement: Placement | None = None


@dataclass(frozen=True)
class UnreadableImage:
    """An image that could not be used, as a value: scoring goes on, the report and the store name it.

    `sha256` is None when not even the bytes could be read. `reason` is one sentence without the path.
    """

    path: Path
    sha256: str | None
    reason: str


@dataclass(frozen=True)
class ImageFile:
    """A file's bytes and their sha256, nothing of it decoded yet."""

    path: Path
    sha256: str
    data: bytes


def read_file(path: Path, limits: ImageLimits | None = None) -> ImageFile | UnreadableImage:
    """Read a file whole, once. Never raises for a bad file: that comes back as a value."""
    try:
        data = read_bytes(path, (limits or image_limits()).max_bytes)
    except ImageError as error:
        return UnreadableImage(path, None, str(error))
    return ImageFile(path, hashlib.sha256(data).hexdigest(), data)


def decode_file(
    file: ImageFile, spec: PreprocessSpec, limits: ImageLimits | None = None, opener: Opener | None = None
) -> DecodedImage | UnreadableImage:
    """Decode a file's bytes to the spec. Never raises for a bad file: that comes back as a value."""
    try:
        encoded = (opener or open_image)(file.data, limits or image_limits())
        return decode_opened(encoded, spec, file.path, file.sha256)
    except ImageError as error:
        return UnreadableImage(file.path, file.sha256, str(error))


def read_image(
    path: Path, spec: PreprocessSpec, limits: ImageLimits | None = None, opener: Opener | None = None
) -> DecodedImage | UnreadableImage:
    """Read a file and decode it to the spec. Never raises for a bad file: that comes back as a value."""
    file = read_file(path, limits)
    return file if isinstance(file, UnreadableImage) else decode_file(file, spec, limits, opener)


def require_image(path: Path, spec: PreprocessSpec, limits: ImageLimits | None = None) -> DecodedImage:
    """Decode a file to the spec, or raise an `ImageError` that names the file."""
    with naming(path):
        data = read_bytes(path, (limits or image_limits()).max_bytes)
        return decode_opened(open_image(data, limits), spec, path, hashlib.sha256(data).hexdigest())


def read_native(
    path: Path,
    limits: ImageLimits | None = None,
    white_level: int | None = None,
    bayer: BayerPattern | None = None,
) -> NDArray[np.uint8]:
    """The upright image at its own size: uint8 RGB (H, W, 3), for overlays and reports. Raises `ImageError`."""
    with naming(path):
        encoded = demosaiced(open_image(read_bytes(path, (limits or image_limits()).max_bytes), limits), bayer)
        return to_native(encoded, encoded.decode(0, 0), white_level)


def to_native(encoded: EncodedImage, pixels: Pixels, white_level: int | None = None) -> NDArray[np.uint8]:
    """Decoded pixels as upright uint8 RGB."""
    return turn_upright(_to_rgb(_to_8_bit(pixels, white_level), encoded), encoded.orientation)


def open_image(data: bytes, limits: ImageLimits | None = None) -> EncodedImage:
    """Read a header, by the contents' own signature, and check it. Raises `ImageError`; decodes no pixel.

    `limits` None: this machine's, as everywhere here.
    """
    encoded = _sniff(data)
    check_size(encoded.height, encoded.width, limits)
    return encoded


def read_size(path: Path, limits: ImageLimits | None = None) -> tuple[int, int]:
    """Height and width of a file's image, turned upright. Raises an `ImageError` that names it; decodes no pixel."""
    with naming(path):
        return open_image(read_bytes(path, (limits or image_limits()).max_bytes), limits).upright_size


def fit_image(encoded: EncodedImage, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Decode an opened image to the spec: uint8 RGB (height, width, 3). Raises `ImageError` for damaged data."""
    encoded = demosaiced(encoded, spec.bayer)
    return _fit(encoded, _decode_for(encoded, spec), spec)[0]


def decode_opened(encoded: EncodedImage, spec: PreprocessSpec, path: Path, sha256: str) -> DecodedImage:
    """Decode an opened image, called `path` and of that content, to the spec. Raises `ImageError` for damaged data."""
    encoded = demosaiced(encoded, spec.bayer)
    stored = _decode_for(encoded, spec)
    brightest = brightest_value(stored) if encoded.bit_depth > 8 else 255
    pixels, placement = _fit(encoded, stored, spec)
    size, colour = encoded.upright_size, encoded.channels > 1
    return DecodedImage(path, sha256, pixels, size, encoded.bit_depth, brightest, colour, placement)


def _decode_for(encoded: EncodedImage, spec: PreprocessSpec) -> Pixels:
    height, width = _stored_size(encoded, spec)
    return encoded.decode(OVERSAMPLING * height, OVERSAMPLING * width)


def _stored_size(encoded: EncodedImage, spec: PreprocessSpec) -> tuple[int, int]:
    """The spec's height and width in stored axes."""
    return (spec.width, spec.height) if encoded.orientation >= 5 else (spec.height, spec.width)


def _fit(encoded: EncodedImage, stored: Pixels, spec: PreprocessSpec) -> tuple[NDArray[np.uint8], Placement | None]:
    if spec.alignment is not None:
        upright = to_native(encoded, stored, spec.white_level)
        return fit_aligned(upright, encoded.upright_size, spec.alignment, spec.height, spec.width)
    pixels = resize(stored, *_stored_size(encoded, spec))
    return to_native(encoded, pixels, spec.white_level), None  # depth, channels, turning: once few pixels are left


def decode_frame(frame: NDArray[Any], spec: PreprocessSpec, mosaic: BayerPattern | None = None) -> DecodedImage:
    """A camera's frame at the spec, made of it as of a file's pixels; it has no path and no content of its own.

    Args:
        frame: as `array_image` takes it, blue first.
        spec: whose pattern holds for mosaics, where it has one.
        mosaic: the pattern that the camera states; None: none.

    Raises:
        ImageError: it is no frame, or none of the spec.
    """
    encoded = array_image(frame, bgr=True)
    return decode_opened(demosaiced(encoded, mosaic if spec.bayer is None else None), spec, Path(), "")


def check_size(height: int, width: int, limits: ImageLimits | None = None) -> None:
    """Refuse what is too small to score or too large to decode. Raises `ImageError`."""
    limits = limits or image_limits()
    if min(height, width) < limits.min_side:
        minimum = f"at least {limits.min_side} pixels on each side"
        raise ImageError(minimum, size_text((height, width)), "use a larger image")
    if height * width > limits.max_pixels:
        got = f"{size_text((height, width))} = {height * width:,}"
        raise ImageError(f"at most {limits.max_pixels:,} pixels", got, f"save a smaller image or {RAISE_THE_LIMIT}")


def _sniff(data: bytes) -> EncodedImage:
    if data.startswith(image_jpeg.MAGIC):
        return image_jpeg.open_jpeg(data)
    if data.startswith(image_opencv.PNG_MAGIC):
        return image_opencv.open_png(data)
    if data.startswith(image_tiff.MAGICS):
        return image_tiff.open_tiff(data)
    if data.startswith(image_opencv.BMP_MAGIC):
        return image_opencv.open_bmp(data)
    raise refused_contents(data)


def _to_8_bit(pixels: Pixels, white_level: int | None) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    return cv2.convertScaleAbs(pixels, alpha=255.0 / (white_level or 65535)).astype(np.uint8, copy=False)  # saturates


def _to_rgb(pixels: NDArray[np.uint8], encoded: EncodedImage) -> NDArray[np.uint8]:
    if pixels.ndim == 2:
        code = cv2.COLOR_GRAY2RGB
    elif pixels.shape[2] == 4:
        code = cv2.COLOR_BGRA2RGB if encoded.bgr else cv2.COLOR_RGBA2RGB
    elif encoded.bgr:
        code = cv2.COLOR_BGR2RGB
    else:
        return pixels
    return cv2.cvtColor(pixels, code).astype(np.uint8, copy=False)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to an `ImageError` from inside."""
    try:
        yield
    except ImageError as error:
        raise ImageError(error.expected, f"{error.got} in {path}", error.remedy, path) from error
