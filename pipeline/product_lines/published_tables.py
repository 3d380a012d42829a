"""Public data sets in which tables say what an image shows: which file goes where in the MVTec AD layout."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from pipeline.errors import LineError
from pipeline.product_lines.layout_names import GOOD
from pipeline.product_lines.planned_files import Plan, PlannedFile, another_layout, notices, planned_mask
from pipeline.system_files import is_passed_over

_VISA_COLUMNS = ("object", "split", "label", "image", "mask")
_VISA_FOLDERS = {
    ("train", "normal"): "train/good",
    ("test", "normal"): "test/good",
    ("test", "anomaly"): "test/anomaly",
}
_REAL_IAD_TABLES = ("realiad_jsons/realiad_jsons", "realiad_jsons")
"""The published split, as the archive unpacks and as people move it; beside it lie splits for other settings."""


def plan_visa(source: Path) -> Plan:
    """VisA, by its table of one class."""
    table = source / "split_csv" / "1cls.csv"
    if not table.is_file():
        raise another_layout("the VisA layout with split_csv/1cls.csv", source)
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LineError("a readable CSV table", f"{error} in {table}", "download the data set again") from error
    for number, row in enumerate(rows, start=2):
        where = f"{table} line {number}"
        if any(row.get(column) is None for column in _VISA_COLUMNS):
            raise LineError(f"the columns {', '.join(_VISA_COLUMNS)}", f"fewer in {where}", "download the table again")
        folder = _VISA_FOLDERS.get((row["split"], row["label"]))
        if folder is None:
            got = f"split {row['split']!r} with label {row['label']!r} in {where}"
            raise LineError("train normal, test normal or test anomaly", got, "use VisA's 1cls.csv")
        line = PurePosixPath(_component(row["object"], where))
        image = _inside(source, row["image"], where)
        yield PlannedFile(image, line / folder / image.name)
        if row["mask"]:
            yield planned_mask(_inside(source, row["mask"], where), line / "ground_truth/anomaly" / image.name)
    if not rows:
        raise LineError("a table that names images", f"an empty one, {table}", "download the data set again")
    yield from notices(source, PurePosixPath())


class _Meta(BaseModel):
    normal_class: str


class _Picture(BaseModel):
    """One of the five pictures of a part."""

    anomaly_class: Annotated[str, Field(min_length=1)]
    image_path: Annotated[str, Field(min_length=1)]
    mask_path: str | None = None


class _Category(BaseModel):
    """What Real-IAD's table of a product holds."""

    meta: _Meta
    train: list[_Picture]
    test: list[_Picture]


def plan_real_iad(source: Path) -> Plan:
    """Real-IAD: the products that are unpacked, all five views of each in one line."""
    layout = "the Real-IAD layout with realiad_jsons/<line>.json and realiad_<size>/<line>"
    tables = next((folder for name in _REAL_IAD_TABLES if any((folder := source / name).glob("*.json"))), None)
    sizes = [f for f in sorted(source.glob("realiad_*")) if f.is_dir() and not f.name.startswith("realiad_jsons")]
    if tables is None or not sizes:
        raise another_layout(layout, source)
    if len(sizes) > 1:
        got = " and ".join(folder.name for folder in sizes)
        raise LineError("images of one size", f"{got} in {source}", "move all but one of them away")
    found = [table for table in sorted(tables.glob("*.json")) if not is_passed_over(table.name)]
    unpacked = [table for table in found if (sizes[0] / table.stem).is_dir()]
    if not unpacked:
        raise another_layout(layout, source)
    for table in unpacked:
        yield from _real_iad_line(sizes[0], table)
    yield from notices(source, PurePosixPath())


def _real_iad_line(images: Path, table: Path) -> Iterator[PlannedFile]:
    """A product's pictures. One of a defective part that does not show the defect is called good in the table."""
    category = _category(table)
    line, root = PurePosixPath(table.stem), images / table.stem
    for split, pictures in (("train", category.train), ("test", category.test)):
        for number, picture in enumerate(pictures):
            where = f"{table}, {split} {number}"
            image = _inside(root, picture.image_path, where)
            if picture.anomaly_class == category.meta.normal_class:
                yield PlannedFile(image, line / split / GOOD / image.name)
                continue
            kind = _component(picture.anomaly_class, where)
            yield PlannedFile(image, line / "test" / kind / image.name)
            if picture.mask_path:
                mask = _inside(root, picture.mask_path, where)
                yield planned_mask(mask, line / "ground_truth" / kind / image.name)


def _category(table: Path) -> _Category:
    try:
        return _Category.model_validate(json.loads(table.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:  # a ValidationError is a ValueError
        reason = "no JSON"
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            reason = f"'{'.'.join(str(part) for part in first['loc'])}: {first['msg']}'"
        got = f"{reason} in {table}"
        raise LineError("a table with meta, train and test", got, "download the data set again") from error


def _component(name: str, where: str) -> str:
    """A name that is one ordinary part of a path."""
    if not name or name.startswith(".") or any(character in name for character in "/\\\0"):
        raise LineError("a plain folder name", f"{name!r} in {where}", "correct the table")
    return name


def _inside(source: Path, relative: str, where: str) -> Path:
    """A file named by a table, which must stay inside the source, also through links."""
    root = source.resolve()
    path = Path(os.path.realpath(root / relative.replace("\0", "")))  # unlike resolve, it bears links that loop
    if not path.is_relative_to(root):
        raise LineError("a path inside the data set", f"{relative!r} in {where}", "correct the table")
    if not path.is_file():
        raise LineError(
            "a file that the data set has", f"no {relative!r}, named in {where}", "unpack the whole data set"
        )
    return path
