"""COCO: a JSON file for many images, with polygons, run lengths, and boxes where an annotation has nothing else.

Images that it lists without an annotation are ones on which nothing was found; but for those of `linewise results coco`
that were flagged without a region, which nobody knows to be good.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.calibration import Decision
from pipeline.errors import LineError
from pipeline.product_lines.labels.label_files import (
    LabelSource,
    flat_points,
    labels_in,
    name,
    number,
    read_json,
    record,
    records,
    size_of,
    whole,
)
from pipeline.product_lines.labels.labelled_image import Label, LabelledImage
from pipeline.product_lines.labels.shapes import Polygon, Runs, Shape, box

_LETTER_BITS = 5  # of a run length, in a letter of a compressed text
_MOST_LETTERS = 8
_AGAIN = "export the labels again"


def read_coco(source: LabelSource) -> Iterator[LabelledImage]:
    """The images that COCO files list; see `Reader`."""
    found = False
    for path in source.files(".json"):
        with labels_in(source.place(path)):
            values = read_json(path)
        if isinstance(values, dict) and {"images", "annotations", "categories"} <= values.keys():
            found = True
            yield from _images(source, path, values)
    if not found:
        raise source.none_found("a JSON file with COCO's images, annotations and categories")


def _images(source: LabelSource, path: Path, values: dict[str, Any]) -> Iterator[LabelledImage]:
    with labels_in(source.place(path)):
        kinds = {
            _key(entry): name(entry.get("name"), "a name") for entry in records(values["categories"], "categories")
        }
        images = records(values["images"], "images")
        annotations: dict[int, list[dict[str, Any]]] = {_key(image): [] for image in images}
        if len(annotations) < len(images):
            raise LineError("an id of its own for every image", "one that two have", _AGAIN)
        for annotation in records(values["annotations"], "annotations"):
            of_image = annotations.get(whole(annotation.get("image_id")))
            if of_image is None:
                raise LineError("annotations of listed images", f"image_id {annotation['image_id']}", _AGAIN)
            of_image.append(annotation)
    for image in images:
        with labels_in(f"{source.place(path)}, image {image['id']}"):
            sides = image.get("height"), image.get("width")
            size = None if None in sides else size_of(*sides)
            labels = tuple(_label(annotation, kinds, size) for annotation in annotations[_key(image)])
            image_path = source.find(name(image.get("file_name"), "file_name"), path)
            if not labels and image.get("decision", Decision.PASS) != Decision.PASS:
                continue
            yield LabelledImage(image_path, labels, size, f"{source.place(path)}, image {image['id']}")


def _key(entry: dict[str, Any]) -> int:
    return whole(entry.get("id"))


def _label(annotation: dict[str, Any], kinds: dict[int, str], size: tuple[int, int] | None) -> Label:
    kind = kinds.get(whole(annotation.get("category_id")))
    if kind is None:
        raise LineError("annotations of listed categories", f"category_id {annotation['category_id']}", _AGAIN)
    return Label(kind, _shapes(annotation, size))


def _shapes(annotation: dict[str, Any], size: tuple[int, int] | None) -> tuple[Shape, ...]:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return (_runs(segmentation, size),)
    if isinstance(segmentation, list) and segmentation:
        if any(not isinstance(outline, list) for outline in segmentation):
            raise LineError("a segmentation of lists of numbers", f"{segmentation!r:.60}", _AGAIN)
        return tuple(Polygon(flat_points(outline, least=3)) for outline in segmentation)
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise LineError("a segmentation, or a box of four numbers", f"{bbox!r:.60}", _AGAIN)
    left, top, width, height = map(number, bbox)
    return (box(left, top, left + width, top + height),)


def _runs(segmentation: dict[str, Any], size: tuple[int, int] | None) -> Runs:
    stated, counts = record(segmentation, "run lengths").get("size"), segmentation.get("counts")
    if not isinstance(stated, list) or len(stated) != 2:
        raise LineError("run lengths with a height and a width", f"{stated!r:.60}", _AGAIN)
    height, width = size_of(*stated)
    if size is not None and (height, width) != size:
        got = f"{height} x {width} for an image of {size[0]} x {size[1]}"
        raise LineError("run lengths of their image's size", got, _AGAIN)
    if isinstance(counts, str):
        lengths = run_lengths(counts)
    elif isinstance(counts, list):
        lengths = [whole(count) for count in counts]
    else:
        raise LineError("run lengths as a list or a text", f"{counts!r:.60}", _AGAIN)
    return Runs(0, 0, height, width, lengths, by_columns=True)


def run_lengths(text: str) -> list[int]:
    """Run lengths from COCO's compressed text: five bits a letter, the lowest first, from the fourth length on what it
    has more than the last but one before it.

    Raises:
        LineError: it is none.
    """
    lengths: list[int] = []
    value = letters = 0
    for letter in text:
        bits = ord(letter) - ord("0")
        if not 0 <= bits < 64 or letters == _MOST_LETTERS:
            raise LineError("COCO's compressed run lengths", f"{text!r:.60}", _AGAIN)
        value |= (bits & 0x1F) << _LETTER_BITS * letters
        letters += 1
        if not bits & 0x20:  # the length's last letter
            if bits & 0x10:
                value -= 1 << _LETTER_BITS * letters
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = letters = 0
    if letters:
        raise LineError("COCO's compressed run lengths", f"a text that ends early, {text!r:.60}", _AGAIN)
    return lengths
