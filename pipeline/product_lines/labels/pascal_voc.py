"""Pascal VOC: an XML file for each image, with boxes. Their pixels are counted from 1, and the last one is inside."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from pipeline.errors import LineError
from pipeline.product_lines.labels.label_files import LabelSource, labels_in, name, number, read_xml, size_of
from pipeline.product_lines.labels.labelled_image import Label, LabelledImage
from pipeline.product_lines.labels.shapes import Polygon, box


def read_pascal_voc(source: LabelSource) -> Iterator[LabelledImage]:
    """The images that have an XML file of Pascal VOC; see `Reader`."""
    found = False
    for path in source.files(".xml"):
        with labels_in(source.place(path)):
            root = read_xml(path)
            if root.tag == "annotation":
                found = True
                labels = tuple(_label(thing) for thing in root.iterfind("object"))
                size = _size(root.find("size"))
                stated = name(root.findtext("filename") or f"{path.stem}.jpg", "filename")
                yield LabelledImage(source.find_renamed(stated, path), labels, size, source.place(path))
    if not found:
        raise source.none_found("XML files of Pascal VOC")


def _size(element: Element | None) -> tuple[int, int] | None:
    if element is None:
        return None
    size = size_of(element.findtext("height"), element.findtext("width"))
    return size if any(size) else None  # 0 x 0: written by tools that did not look


def _label(thing: Element) -> Label:
    return Label(name(thing.findtext("name"), "a name"), (_box(thing.find("bndbox")),))


def _box(element: Element | None) -> Polygon:
    if element is None:
        raise LineError("a bndbox in every object", "none", "export the labels again")
    left, top, right, bottom = (number(element.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
    return box(left - 1, top - 1, right, bottom)
