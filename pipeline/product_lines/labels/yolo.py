"""YOLO: a text file for each image, one line an object, places as shares of the image: boxes and outlines.

The text lies beside its image, or in `labels/` where the image lies in `images/`. An empty text is an image on which
nothing was found. Names are in data.yaml, classes.txt or obj.names. As no size is told, places are taken as on the
upright image, which is what training shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ImageError, LineError
from pipeline.imaging.images import read_size
from pipeline.product_lines.labels.label_files import LabelSource, labels_in, name, number, read_text, whole
from pipeline.product_lines.labels.labelled_image import Label, LabelledImage
from pipeline.product_lines.labels.shapes import Polygon, Shape, box

_NAME_FILES = ("classes.txt", "obj.names")
_NO_LABELS = frozenset({"classes", "train", "val", "valid", "test", "readme", "license", "licence", "requirements"})
_BEYOND = 1e-3  # of the image, by which rounding may bring a place out of it


def read_yolo(source: LabelSource) -> Iterator[LabelledImage]:
    """The images that have a text of YOLO; see `Reader`."""
    texts = [path for path in source.files(".txt") if path.stem.split(".")[0].lower() not in _NO_LABELS]
    if not texts:
        raise source.none_found("text files of YOLO")
    kinds = _kinds(source)
    images: dict[Path, list[Path]] = {}
    for image in source.images:
        for text in {image.with_suffix(".txt"), _in_labels(image, source.root)}:
            images.setdefault(text, []).append(image)
    for text in texts:
        with labels_in(source.place(text)):
            of_text = images.get(text, [])
            if len(of_text) != 1:
                remedy = "copy it there, or remove its labels" if not of_text else "rename one, and its labels"
                raise LineError("one image for each text of labels", f"{len(of_text) or 'none'}", remedy)
            yield _image(of_text[0], text, kinds, source.place(text))


def _in_labels(image: Path, root: Path) -> Path:
    """An image's text where the last `images` of its path below the source, or the source itself, becomes `labels`."""
    parts = list(image.with_suffix(".txt").relative_to(root).parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return root.joinpath(*parts)


def _kinds(source: LabelSource) -> dict[int, Any]:
    for path in source.files(".yaml", ".yml"):
        with labels_in(source.place(path)):
            try:
                values = yaml.safe_load(read_text(path))
            except (yaml.YAMLError, RecursionError, ValueError) as error:
                raise LineError("a table of names in YAML", f"what is none ({error})", "export it again") from error
            names = values.get("names") if isinstance(values, dict) else None
            if isinstance(names, dict):
                return {whole(key): kind for key, kind in names.items()}
            if isinstance(names, list):
                return dict(enumerate(names))
    for path in source.files(".txt", ".names"):
        if path.name.lower() in _NAME_FILES:
            with labels_in(source.place(path)):
                return dict(enumerate(read_text(path).splitlines()))
    raise source.none_found("the names of YOLO's classes, in data.yaml or classes.txt")


def _image(image: Path, text: Path, kinds: dict[int, Any], place: str) -> LabelledImage:
    lines = [line.split() for line in read_text(text).splitlines() if line.strip()]
    if not lines:
        return LabelledImage(image, (), None, place)
    try:
        size = read_size(image)
    except ImageError as error:
        raise LineError(error.expected, error.got, error.remedy) from error
    return LabelledImage(image, tuple(_label(line, kinds, size) for line in lines), size, place)


def _label(line: list[str], kinds: dict[int, Any], size: tuple[int, int]) -> Label:
    index = whole(line[0])
    if index not in kinds:
        raise LineError("a class that has a name", f"class {index} of {len(kinds)}", "complete the table of names")
    kind = kinds[index]
    kind = str(kind) if isinstance(kind, int | float) else name(kind, "a class's name")
    return Label(kind, (_shape([number(value) for value in line[1:]], size),))


def _shape(values: list[float], size: tuple[int, int]) -> Shape:
    height, width = size
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        got = f"{len(values)} numbers after the class"
        raise LineError(
            "a box of 4 numbers or an outline of 6 and more", got, "export the labels again, without scores"
        )
    if min(values) < -_BEYOND or max(values) > 1 + _BEYOND:
        got = f"{min(values):g} to {max(values):g}"
        raise LineError("places as shares of the image, 0 to 1", got, "export the labels again")
    if len(values) == 4:
        x, y, across, down = (value * side for value, side in zip(values, (width, height) * 2, strict=True))
        return box(x - across / 2, y - down / 2, x + across / 2, y + down / 2)
    return Polygon([(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)])
