"""Label Studio's JSON export: a list of tasks; polygons, rectangles and ellipses in percent of the image, and choices.

A task that was submitted without a region is an image on which nothing was found; one without an annotation, or with
one that was skipped, was not looked at. Brush strokes are refused: Label Studio exports those as COCO, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.errors import LineError
from pipeline.imaging.files import is_image_name
from pipeline.product_lines.labels.label_files import (
    LabelSource,
    labels_in,
    name,
    number,
    points,
    read_json,
    record,
    records,
    size_of,
)
from pipeline.product_lines.labels.labelled_image import Label, LabelledImage
from pipeline.product_lines.labels.shapes import Polygon, box, ellipse, turned

_LABELS = ("polygonlabels", "rectanglelabels", "ellipselabels", "labels", "choices")
_BARE = ("polygon", "rectangle", "ellipse")  # the place alone, of a region whose label is a result of its own
_NO_PLACE = ("relation", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what the server puts before the name of a file


def read_label_studio(source: LabelSource) -> Iterator[LabelledImage]:
    """The images of the tasks that were done; see `Reader`."""
    found = False
    for path in source.files(".json"):
        with labels_in(source.place(path)):
            tasks = read_json(path)
        if isinstance(tasks, list) and all(isinstance(task, dict) and "data" in task for task in tasks):
            found = True
            for task in tasks:
                place = f"{source.place(path)}, task {task.get('id', '')}"
                with labels_in(place):
                    yield from _image(source, path, task, place)
    if not found:
        raise source.none_found("a JSON file of Label Studio's tasks (not JSON_MIN)")


def _image(source: LabelSource, path: Path, task: dict[str, Any], place: str) -> Iterator[LabelledImage]:
    done = [a for a in records(task.get("annotations", []), "annotations") if not a.get("was_cancelled")]
    done = [annotation for annotation in done if annotation.get("ground_truth")] or done
    if len(done) > 1:
        remedy = "mark the right one as ground truth, or delete the others"
        raise LineError("one annotation for each task", f"{len(done)}", remedy)
    for annotation in done:
        results = records(annotation.get("result", []), "results")
        places = {size for result in results if (size := _size(result)) is not None}
        if len(places) > 1:
            raise LineError("one image for each task", "results on several sizes", "import each image alone")
        labels = [label for result in results for label in _labels(result, results)]
        yield LabelledImage(_path(source, path, task), tuple(labels), next(iter(places), None), place)


def _path(source: LabelSource, path: Path, task: dict[str, Any]) -> Path:
    values = [value for value in record(task["data"], "data").values() if isinstance(value, str)]
    stated = [file for value in values if is_image_name(file := _file_of(value))]
    if len(stated) != 1:
        raise LineError("one image in a task's data", f"{len(stated) or 'none'}", "export the labels again")
    original = str(Path(stated[0]).with_name(_UPLOADED.sub("", Path(stated[0]).name)))
    renamed = not source.look_for(stated[0], path) and source.look_for(original, path)
    return source.find(original if renamed else stated[0], path)


def _file_of(address: str) -> str:
    """The path in a URL, such as http://host/a.jpg, /data/upload/1/a.jpg or /data/local-files/?d=a.jpg."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    if served := parse_qs(parts.query).get("d"):
        return served[0]
    return unquote(parts.path) if parts.scheme or address.startswith("/data/") else address


def _size(result: dict[str, Any]) -> tuple[int, int] | None:
    if "original_width" not in result:
        return None
    return size_of(result.get("original_height"), result["original_width"])


def _labels(result: dict[str, Any], results: list[dict[str, Any]]) -> list[Label]:
    kind, value = result.get("type"), record(result.get("value", {}), "a value")
    if kind in _NO_PLACE:
        return []
    if kind in _BARE and any(r.get("id") == result.get("id") and r.get("type") in _LABELS for r in results):
        return []
    if kind not in _LABELS:
        expected = "polygons, rectangles and ellipses with a label, and choices"
        raise LineError(expected, f"a result of type {kind!r:.60}", "export brush strokes as COCO, label the others")
    kinds = value.get(kind)
    if not isinstance(kinds, list) or not kinds:
        raise LineError("a label for each region", "none", "label it, or delete it")
    shapes = () if kind == "choices" else (_shape(result, value),)
    return [Label(name(each, "a label"), shapes) for each in kinds]


def _shape(result: dict[str, Any], value: dict[str, Any]) -> Polygon:
    size = _size(result)
    if size is None:
        raise LineError("original_width and original_height beside a region", "none", "export the labels again")
    if number(result.get("image_rotation") or 0):
        raise LineError("regions on images that were not turned", "an image_rotation", "label it as it was taken")
    across, down = size[1] / 100, size[0] / 100
    if "points" in value:
        return Polygon([(x * across, y * down) for x, y in points(value["points"], least=3)])
    x, y = number(value.get("x")) * across, number(value.get("y")) * down
    if "radiusX" in value:
        shape = ellipse((x, y), (number(value["radiusX"]) * across, number(value.get("radiusY")) * down))
    else:
        right, bottom = x + number(value.get("width")) * across, y + number(value.get("height")) * down
        shape = box(x, y, right, bottom)
    return turned(shape, number(value.get("rotation", 0)), (x, y))
