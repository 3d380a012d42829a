"""The region of interest: the part of a line's images that is looked at. Outside it nothing counts. Torch-free.

A person draws it once for a line whose parts lie in the same place: as a mask image, white where to look, or as JSON
with polygons in pixels of the upright image,

    {"width": 1920, "height": 1080, "look": [[[x, y], [x, y], [x, y]], ...], "ignore": [...]}

of which either list may be left out: without `look` everything is looked at but what `ignore` holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.encoded import size_text
from pipeline.imaging.files import RAISE_THE_LIMIT, read_bytes
from pipeline.imaging.images import ImageLimits, image_limits, naming, open_image
from pipeline.imaging.masks import open_mask
from pipeline.imaging.orientation import turn_upright
from pipeline.imaging.resizing import resize

LEAST_CELLS = 32
"""Of the finest feature grid, half inside each: 3 % of an image at 256 px. Fewer show too little of how parts vary."""
_ASPECTS = 1.02  # two sizes of one scene differ by the rounding of their sides
_SHOWN = 60  # characters of what is wrong
_SIDE = 2048  # of the kept mask, at most: finer than any feature grid, and a few kilobytes as PNG

Point = tuple[FiniteFloat, FiniteFloat]
Polygon = Annotated[list[Point], Field(min_length=3)]


class _Drawing(BaseModel):
    """What a JSON file of polygons holds."""

    model_config = ConfigDict(extra="forbid")

    width: Annotated[int, Field(ge=1, le=65535)]
    height: Annotated[int, Field(ge=1, le=65535)]
    look: list[Polygon] | None = None
    ignore: list[Polygon] = []


@dataclass(frozen=True, eq=False)
class RegionOfInterest:
    """What is looked at: `mask` (h, w) bool over the whole upright image, at a size of its own."""

    mask: NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Of the image that is looked at, 0..1."""
        return float(self.mask.mean())

    def at(self, height: int, width: int) -> NDArray[np.uint8]:
        """At a model's size: 0 outside to 255 inside (height, width)."""
        return resize(np.where(self.mask, np.uint8(255), np.uint8(0)), height, width)

    def meets(self, mask: NDArray[np.bool_]) -> bool:
        """Whether a defect's mask, at any size, has a pixel inside."""
        height, width = mask.shape
        inside = cv2.resize(self.mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        return bool((mask & (inside > 0)).any())

    def to_png(self) -> bytes:
        """As a mask image, white where to look."""
        written, encoded = cv2.imencode(".png", self.mask.astype(np.uint8) * 255)
        assert written, "OpenCV encodes any uint8 image"
        return encoded.tobytes()

    @classmethod
    def from_png(cls, data: bytes) -> Self:
        """The inverse of `to_png`.

        Raises:
            ValueError: the bytes are no image, or one larger than `to_png` makes.
        """
        try:
            open_image(data, ImageLimits(max_pixels=_SIDE * _SIDE, min_side=1))
        except ImageError as error:
            raise ValueError(str(error)) from error
        mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise ValueError("no image")
        return cls(np.asarray(mask) > 127)


def read_region(path: Path, sizes: Iterable[tuple[int, int]]) -> RegionOfInterest:
    """The region that a file draws, a mask image or JSON with polygons.

    Args:
        path: a `.json`, else an image.
        sizes: (height, width) of the upright images that it is of.

    Raises:
        ConfigError: a `.json` is not there or cannot be read as polygons; it is empty, or of images with other
            proportions.
        ImageError: it is no image.
    """
    mask = _drawn(path) if path.suffix.lower() == ".json" else _painted(path)
    for size in sizes:
        ratio = mask.shape[0] * size[1] / (mask.shape[1] * size[0])
        if not 1 / _ASPECTS <= ratio <= _ASPECTS:
            got = f"{size_text((mask.shape[0], mask.shape[1]))} for images of {size_text(size)}"
            raise ConfigError(f"a region with the proportions of the line's images in {path}", got, "draw it on one")
    if not mask.any():
        raise ConfigError(f"a region with something to look at in {path}", "an empty one", "draw white where to look")
    return RegionOfInterest(_smaller(mask))


def _painted(path: Path) -> NDArray[np.bool_]:
    """Where a mask image is nearer to white than to black; as no defect's pixels hang on it, a JPEG will do."""
    with naming(path):
        encoded = open_mask(path)
        pixels = turn_upright(encoded.decode(0, 0), encoded.orientation)
    brightest = np.iinfo(pixels.dtype).max
    grey = pixels if pixels.ndim == 2 else pixels[:, :, :3].max(axis=2)
    return grey > brightest // 2


def _drawn(path: Path) -> NDArray[np.bool_]:
    try:
        data = read_bytes(path, image_limits().max_bytes)
    except ImageError as error:  # of a file of polygons, not of an image
        raise ConfigError(f"a file with polygons at {path}", error.got, error.remedy) from error
    try:
        drawing = _Drawing.model_validate(json.loads(data))
    except (ValueError, RecursionError) as error:  # a ValidationError is one
        remedy = (
            'write {"width": ..., "height": ..., "look": [[[x, y], [x, y], [x, y], ...], ...], "ignore": [...]}, a '
            "polygon with three points or more"
        )
        raise ConfigError(f"polygons in {path}", _reason(error), remedy) from error
    height, width = drawing.height, drawing.width
    if not (drawing.look or drawing.ignore):
        raise ConfigError(f"polygons of what to look at, or to ignore, in {path}", "none", "draw one")
    if height * width > image_limits().max_pixels:
        expected = f"polygons on an image of at most {image_limits().max_pixels:,} pixels in {path}"
        raise ConfigError(expected, size_text((height, width)), RAISE_THE_LIMIT)
    for x, y in (point for polygon in (*(drawing.look or ()), *drawing.ignore) for point in polygon):
        if not (0 <= x <= width and 0 <= y <= height):
            remedy = "draw on the upright image, as viewers show it"
            size = size_text((height, width))
            raise ConfigError(f"polygons inside the image, {size}, in {path}", f"a point at {x:g}, {y:g}", remedy)
    mask = np.zeros((height, width), np.uint8) if drawing.look is not None else np.ones((height, width), np.uint8)
    for polygons, value in ((drawing.look or (), 1), (drawing.ignore, 0)):
        for polygon in polygons:  # one by one: together, where two overlap would count as outside
            _fill(mask, polygon, value)
    return mask > 0


def _fill(mask: NDArray[np.uint8], polygon: Sequence[Point], value: int) -> None:
    """Fill a polygon, whose corners are told from the outer corner of the first pixel."""
    corners = np.rint((np.asarray(polygon) - 0.5) * 16).astype(np.int32)  # in sixteenths from the pixel's centre
    cv2.fillPoly(mask, [corners], value, shift=4)


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "no JSON"
    first = error.errors(include_url=False)[0]
    where, shown = ".".join(str(part) for part in first["loc"]), json.dumps(first["input"])[:_SHOWN]
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return f"no {where}"
    if first["type"] == "extra_forbidden":
        return f"'{where}', which no such file has"
    return f"{shown} as {where}" if where else f"{shown}, not an object"


def _smaller(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    ratio = _SIDE / max(mask.shape)
    if ratio >= 1:
        return mask
    size = (max(1, round(mask.shape[1] * ratio)), max(1, round(mask.shape[0] * ratio)))
    return cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
