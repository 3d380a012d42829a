"""Files of labels: found beside the images, read without trusting them, and what is wrong told in one sentence."""

from __future__ import annotations

import json
import math
import os
import reprlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from xml.etree import ElementTree

from pipeline.errors import ImageError, LineError
from pipeline.imaging.files import instead_of_empty, iter_image_files, open_ordinary
from pipeline.imaging.not_read import NotRead
from pipeline.product_lines.labels.shapes import Point
from pipeline.product_lines.line_sentences import named
from pipeline.system_files import is_passed_over
from pipeline.unicode_names import composed

_AGAIN = "export the labels again"
_MAX_BYTES = 1 << 30  # of one file; COCO's own largest has half of it
_MAX_WHOLE = 1 << 31


class LabelSource:
    """A folder with images and the files of labels that a tool wrote for them.

    Args:
        root: the folder; nothing outside of it is read, whatever the labels name.

    Raises:
        StorageError: it cannot be listed.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - links stay as they are
        self.not_read = NotRead(self.root)
        self._others: list[Path] = []
        self.images = tuple(iter_image_files(self.root, self._see))
        self._folders = {image.parent for image in self.images}
        self._known = {composed(os.fspath(image)): image for image in self.images}
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for image in self.images:
            self._by_name[composed(image.name)].append(image)
            self._by_stem[composed(image.stem)].append(image)

    def _see(self, path: Path) -> None:
        self._others.append(path)
        self.not_read.see(path)

    def files(self, *suffixes: str) -> list[Path]:
        """The other files with one of these suffixes, in lower case, sorted."""
        return sorted(path for path in self._others if path.suffix.lower() in suffixes)

    def place(self, path: Path) -> str:
        """A file as sentences name it."""
        return path.relative_to(self.root).as_posix()

    def find(self, stated: str, beside: Path) -> Path:
        """The image that a file of labels names: by its path from there, else by what its path ends with.

        Labels come from other machines and servers: the image may lie deeper here than they say, or less deep.

        Raises:
            LineError: there is none, or more than one.
        """
        found = self.look_for(stated, beside)
        if len(found) == 1:
            return found[0]
        if not found:
            remedy = f"copy it into {self.root}, or remove its labels"
            raise LineError("an image for all labels", f"none called {stated!r}", remedy)
        got = f"{named(self.root, found)} for {stated!r}"
        raise LineError("one image of a name that labels have", got, "rename the images, or import each folder alone")

    def find_renamed(self, stated: str, beside: Path) -> Path:
        """As `find`; where there is none, the only image of the file's own name: both may have been renamed."""
        renamed = self._within_reach(self._by_stem.get(composed(beside.stem), ()), beside)
        if len(renamed) == 1 and not self.look_for(stated, beside):
            return renamed[0]
        return self.find(stated, beside)

    def look_for(self, stated: str, beside: Path) -> list[Path]:
        """The images that `find` chooses from."""
        path = composed(stated.replace("\\", "/"))
        exact = self._known.get(os.path.normpath(os.path.join(beside.parent, path)))  # noqa: PTH118 - only compared
        if exact is not None:
            return [exact]
        parts = tuple(part for part in PurePosixPath(path).parts if part not in ("/", ".", ".."))
        same_name = self._within_reach(self._by_name.get(parts[-1] if parts else "", ()), beside)
        return [image for image in same_name if self._ends_as(image, parts)]

    def _within_reach(self, images: Sequence[Path], beside: Path) -> list[Path]:
        """Labels that lie among images are of those there and below, not of some other folder's with the same name."""
        return [i for i in images if beside.parent not in self._folders or i.is_relative_to(beside.parent)]

    def _ends_as(self, image: Path, parts: Sequence[str]) -> bool:
        here = composed(image.relative_to(self.root).as_posix()).split("/")
        shared = min(len(here), len(parts))
        return here[-shared:] == list(parts[-shared:])

    def none_found(self, what: str) -> LineError:
        """The error for a folder without labels of the format."""
        return LineError(what, f"none in {self.root}", instead_of_empty(self.root, "choose another format or folder"))


@contextmanager
def labels_in(place: str) -> Iterator[None]:
    """Say where the labels stand that a `LineError` from inside is about."""
    try:
        yield
    except LineError as error:
        raise LineError(error.expected, f"{error.got} in {place}", error.remedy) from error


def read_labels(path: Path) -> bytes:
    """A file of labels, whole. Raises `LineError` without naming the path."""
    try:
        with open_ordinary(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > _MAX_BYTES:
                raise LineError(f"a file of at most {_MAX_BYTES:,} bytes", f"{size:,}", "export it in parts")
            return file.readall() or b""
    except ImageError as error:
        raise LineError("a file of labels that can be read", error.got, error.remedy) from error


def read_text(path: Path) -> str:
    """A text file of labels. Raises `LineError` without naming the path."""
    try:
        return read_labels(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LineError("labels in UTF-8", f"other bytes ({error.reason})", _AGAIN) from error


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises `LineError` without naming the path."""
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LineError("labels in JSON", f"what is none ({error})", _AGAIN) from error


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file, which may not bring definitions of its own: they make small files huge.

    Raises:
        LineError: it is none; the path is not named.
    """
    parser = ElementTree.XMLParser(target=_WithoutDefinitions())  # noqa: S314 - refuses what makes XML unsafe
    try:
        parser.feed(read_labels(path))
        return parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise LineError("labels in XML", f"what is none ({error})", _AGAIN) from error


class _WithoutDefinitions(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        """Called before the first entity is defined."""
        del pubid, system
        raise LineError("labels in XML without a document type", f"<!DOCTYPE {name:.40}>", _AGAIN)


def record(value: Any, what: str) -> dict[str, Any]:
    """A JSON object. Raises `LineError`."""
    if not isinstance(value, dict):
        raise LineError(f"{what} as an object", _short(value), _AGAIN)
    return value


def records(value: Any, what: str) -> list[dict[str, Any]]:
    """A list of JSON objects. Raises `LineError`."""
    return [record(entry, f"each of the {what}") for entry in _list(value, what)]


def name(value: Any, what: str) -> str:
    """A text that is not empty, without spaces around it. Raises `LineError`."""
    if not isinstance(value, str) or not value.strip():
        raise LineError(f"{what} as text", _short(value), _AGAIN)
    return value.strip()


def number(value: Any) -> float:
    """A finite number, also in a text, as XML has it. Raises `LineError`."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise LineError("a finite number in every label", _short(value), "correct the label")
    return found


def whole(value: Any) -> int:
    """A whole number of a size that images have. Raises `LineError`."""
    found = number(value)
    if found != int(found) or abs(found) >= _MAX_WHOLE:
        raise LineError("a whole number", _short(value), "correct the label")
    return int(found)


def size_of(height: Any, width: Any) -> tuple[int, int]:
    """(height, width) as a tool states it. Raises `LineError`."""
    return whole(height), whole(width)


def points(value: Any, *, least: int) -> list[Point]:
    """A list of pairs of numbers, x and y. Raises `LineError`."""
    pairs = _list(value, "points")
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in pairs):
        raise LineError("points of two numbers each", _short(value), _AGAIN)
    return at_least([(number(x), number(y)) for x, y in pairs], least)


def flat_points(values: Sequence[Any], *, least: int) -> list[Point]:
    """Points from their numbers in turn: x, y, x, y. Raises `LineError`."""
    if len(values) % 2:
        raise LineError("an even count of numbers, x and y in turn", f"{len(values)}", _AGAIN)
    found = [number(value) for value in values]
    return at_least(list(zip(found[::2], found[1::2], strict=True)), least)


def at_least(found: list[Point], least: int) -> list[Point]:
    """The points, where they are enough. Raises `LineError`."""
    if len(found) < least:
        raise LineError(f"a shape of {least} points and more", f"{len(found)}", "correct the label")
    return found


def plain_kind(label: str) -> str:
    """A label that can be the name of a folder. Raises `LineError`."""
    if is_passed_over(label) or any(character in label for character in "/\\\0"):
        raise LineError("a label that can be the name of a folder", repr(label), "rename the label")
    return label


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise LineError(f"{what} as a list", _short(value), _AGAIN)
    return value


def _short(value: Any) -> str:
    return f"{reprlib.repr(value):.60}" if value is not None else "none"
