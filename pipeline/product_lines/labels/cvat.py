"""CVAT for images 1.1: one XML for many images, with boxes, polygons, ellipses and masks; tags speak of whole images.

It lists all images of a task, those without a shape as well. What has no area (points, polylines) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from pipeline.errors import LineError
from pipeline.product_lines.labels.label_files import (
    LabelSource,
    flat_points,
    labels_in,
    name,
    number,
    read_xml,
    size_of,
    whole,
)
from pipeline.product_lines.labels.labelled_image import Label, LabelledImage
from pipeline.product_lines.labels.shapes import Polygon, Runs, Shape, box, ellipse, turned


def read_cvat(source: LabelSource) -> Iterator[LabelledImage]:
    """The images that CVAT's files list; see `Reader`."""
    found = False
    for path in source.files(".xml"):
        with labels_in(source.place(path)):
            root = read_xml(path)
            if root.tag != "annotations":
                continue
            found = True
            if root.find("track") is not None:
                raise LineError("labels as CVAT for images", "tracks of a video", "export as CVAT for images 1.1")
        for image in root.iterfind("image"):
            place = f"{source.place(path)}, image {image.get('id', '')}"
            with labels_in(place):
                labels = tuple(Label(name(shape.get("label"), "a label"), _shapes(shape)) for shape in image)
                size = size_of(image.get("height"), image.get("width"))
                yield LabelledImage(source.find(name(image.get("name"), "a name"), path), labels, size, place)
    if not found:
        raise source.none_found("an XML file of CVAT for images")


def _shapes(shape: Element) -> tuple[Shape, ...]:
    match shape.tag:
        case "tag":
            return ()
        case "box":
            left, top, right, bottom = (number(shape.get(side)) for side in ("xtl", "ytl", "xbr", "ybr"))
            return (_rotated(box(left, top, right, bottom), shape, ((left + right) / 2, (top + bottom) / 2)),)
        case "polygon":
            pairs = shape.get("points", "").split(";")
            return (Polygon(flat_points([value for pair in pairs for value in pair.split(",")], least=3)),)
        case "ellipse":
            x, y, across, down = (number(shape.get(value)) for value in ("cx", "cy", "rx", "ry"))
            return (_rotated(ellipse((x, y), (across, down)), shape, (x, y)),)
        case "mask":
            left, top, width, height = (whole(shape.get(value)) for value in ("left", "top", "width", "height"))
            lengths = [whole(length) for length in shape.get("rle", "").split(",")]
            return (Runs(left, top, height, width, lengths, by_columns=False),)
        case other:
            expected = "boxes, polygons, ellipses, masks and tags"
            raise LineError(expected, f"a shape of type {other!r:.60}", "draw the region that it stands for")


def _rotated(shape: Polygon, element: Element, about: tuple[float, float]) -> Polygon:
    return turned(shape, number(element.get("rotation", "0")), about)
