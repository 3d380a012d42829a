"""LabelMe: a JSON file for each image, mostly beside it and of its name, with polygons, rectangles, circles and masks.

LabelMe's own masks have lines 10 pixels wide; so have these. A point has no size, and is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ImageError, LineError
from pipeline.imaging.images import image_limits, open_image
from pipeline.product_lines.labels.label_files import (
    LabelSource,
    labels_in,
    name,
    points,
    read_json,
    record,
    records,
    size_of,
    whole,
)
from pipeline.product_lines.labels.labelled_image import Label, LabelledImage
from pipeline.product_lines.labels.shapes import Bitmap, Point, Polygon, Shape, box, ellipse, stroke

_LINE_WIDTH = 10


def read_labelme(source: LabelSource) -> Iterator[LabelledImage]:
    """The images that have a file of LabelMe; see `Reader`."""
    found = False
    for path in source.files(".json"):
        with labels_in(source.place(path)):
            values = read_json(path)
            if isinstance(values, dict) and "shapes" in values and "imagePath" in values:
                found = True
                yield _image(source, path, values)
    if not found:
        raise source.none_found("JSON files of LabelMe")


def _image(source: LabelSource, path: Path, values: dict[str, Any]) -> LabelledImage:
    stated = name(values["imagePath"], "imagePath")
    shapes = records(values["shapes"], "shapes")
    labels = [Label(name(shape.get("label"), "a label"), _shapes(shape)) for shape in shapes]
    labels += [Label(flag) for flag, is_set in record(values.get("flags") or {}, "flags").items() if is_set]
    sides = values.get("imageHeight"), values.get("imageWidth")
    size = None if None in sides else size_of(*sides)
    return LabelledImage(source.find_renamed(stated, path), tuple(labels), size, source.place(path))


def _shapes(shape: dict[str, Any]) -> tuple[Shape, ...]:
    match shape.get("shape_type") or "polygon":
        case "polygon" | "oriented_rectangle":
            return (Polygon(points(shape.get("points"), least=3)),)
        case "rectangle":
            across, down = zip(*points(shape.get("points"), least=2), strict=True)  # two corners, drawn in any order
            return (box(min(across), min(down), max(across), max(down)),)
        case "circle":
            centre, edge, *_ = points(shape.get("points"), least=2)
            radius = float(np.hypot(edge[0] - centre[0], edge[1] - centre[1]))
            return (ellipse(centre, (radius, radius)),)
        case "line" | "linestrip":
            return stroke(points(shape.get("points"), least=2), _LINE_WIDTH)
        case "mask":
            return (_bitmap(points(shape.get("points"), least=1)[0], shape.get("mask")),)
        case other:
            expected = "polygons, rectangles, circles, lines and masks"
            raise LineError(expected, f"a shape of type {other!r:.60}", "draw the region that it stands for")


def _bitmap(corner: Point, text: Any) -> Bitmap:
    """A mask that is kept as a PNG in base64 beside its left upper corner."""
    try:
        data = base64.b64decode(name(text, "a mask"), validate=True)
        pixels = open_image(data, replace(image_limits(), min_side=1)).decode(0, 0)
    except (binascii.Error, ValueError, ImageError) as error:
        raise LineError("a mask that is a PNG in base64", f"what is none ({error})", "draw it again") from error
    marked = pixels != 0 if pixels.ndim == 2 else (pixels[:, :, :3] != 0).any(axis=2)
    return Bitmap(whole(int(corner[0])), whole(int(corner[1])), marked)
