"""Folders that people and tools fill: product lines, labels, lists of images, verdicts."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random

from deploy.results.verdict_files import read_verdicts
from deploy.scoring.sources.listing import ListSource
from pipeline.product_lines.importers import import_data_set
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.lines import find_lines
from tests.fuzz.image_surfaces import HEIGHT, WIDTH, hostile_image, specimens
from tests.fuzz.mutations import ODD_TEXTS, as_json, damaged_bytes, damaged_value
from tests.fuzz.surface import Input, PassedInSilenceError, Surface
from tests.parts.image_files import picture, png
from tests.parts.labelled_images import coco, cvat, cvat_image, labelme, region, task, voc

_FOLDERS = ("good", "defect", "defect/crack", "masks", "masks/crack", "train/good", "test/good", "test/crack")
_MORE_FOLDERS = ("ground_truth/crack", "Good", "ok", "mask", "labels", "@eaDir", "..", "defect/..", "a/b/c/d/e")


def _line(rng: Random) -> Input:
    """Six to fourteen files somewhere in a line's folders, a part of them damaged or of odd names."""
    files = {f"line/good/{number}.png": _small(number) for number in range(2)} if rng.random() < 0.8 else {}
    for number in range(rng.randrange(4, 12)):
        folder = rng.choice(_FOLDERS if rng.random() < 0.8 else _MORE_FOLDERS)
        stem = str(number % 5) if rng.random() < 0.8 else rng.choice(ODD_TEXTS).replace("\0", "")[:200] or "x"
        suffix = rng.choice((".png", ".png", ".PNG", ".jpg", ".tif", "_mask.png", ".webp", ".txt", ""))
        if stem.startswith("/") or ".." in f"{folder}/{stem}":
            continue  # it is to stay in its own folder
        damaged = hostile_image(rng, specimens()).files["input"]
        files[f"line/{folder}/{stem}{suffix}"] = damaged if rng.random() < 0.5 else _small(number % 4)
    return Input({name: data for name, data in files.items() if "\ud800" not in name}, f"{len(files)} files")


@cache
def _small(seed: int) -> bytes:
    return png(picture(HEIGHT, WIDTH, seed))


def _look_at_line(_made: Input, folder: Path) -> str:
    for line in find_lines(folder):
        report = check_line(line, workers=1)
        for problem in report.problems:
            if "\n" in problem.sentence:
                raise PassedInSilenceError(f"a sentence of several lines: {problem.sentence!r}")
    return "read"


@cache
def _labels() -> Mapping[str, tuple[str, object]]:
    """For each tool the file that it writes for a.png and b.png, as JSON's value or as text."""
    outline = [[2, 3], [8, 3], [8, 6], [2, 6]]
    flat = [place for point in outline for place in point]
    size = {"height": HEIGHT, "width": WIDTH, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    shapes = (
        {"label": "scratch", "points": outline},
        {"label": "dent", "points": [[20.0, 10.0], [12.0, 14.0]], "shape_type": "rectangle"},
        {"label": "dent", "points": [[20.0, 10.0], [22.0, 14.0]], "shape_type": "circle"},
        {"label": "dent", "points": [[20.0, 10.0], [22.0, 14.0], [1, 1]], "shape_type": "linestrip"},
    )
    annotations = [
        {"segmentation": [flat], "bbox": [2, 3, 6, 3]},
        {"segmentation": {"counts": [3, 5, HEIGHT * WIDTH - 8], "size": [HEIGHT, WIDTH]}, "bbox": [0, 3, 1, 5]},
        {"segmentation": {"counts": "35d0", "size": [HEIGHT, WIDTH]}, "bbox": [0, 3, 1, 5], "iscrowd": 1},
        {"bbox": [1, 2, 3, 4]},
    ]
    whole_coco = coco({"a.png": annotations, "b.png": []})
    for image in whole_coco["images"]:
        image |= {"height": HEIGHT, "width": WIDTH}
    tasks = [
        task(1, "a.png", region("polygonlabels", "scratch", points=outline)),
        task(2, "b.png", region("rectanglelabels", "dent", x=1, y=2, width=30, height=40, rotation=10)),
    ]
    for one in tasks:
        for result in one["annotations"][0]["result"]:
            result |= {"original_width": WIDTH, "original_height": HEIGHT}
    drawn = (
        '<box label="dent" occluded="0" xtl="1.0" ytl="2.0" xbr="9.5" ybr="8.0" rotation="20" z_order="0"/>'
        '<polygon label="scratch" points="2.0,3.0;8.0,3.0;8.0,6.0" z_order="0"/>'
        '<ellipse label="dent" cx="20" cy="20" rx="4" ry="6" z_order="0"/>'
        '<mask label="dent" rle="3, 5, 4" left="1" top="1" width="4" height="3" z_order="0"/>'
    )
    return {
        "labelme": ("a.json", labelme("a.png", *shapes, **size)),
        "coco": ("annotations.json", whole_coco),
        "label_studio": ("export.json", tasks),
        "cvat": ("annotations.xml", cvat(cvat_image(0, "a.png", drawn, HEIGHT, WIDTH))),
        "pascal_voc": ("a.xml", voc("a.png", ("dent", 2, 3, 9, 8), height=HEIGHT, width=WIDTH)),
        "yolo": ("a.txt", "0 0.5 0.5 0.2 0.3\n1 0.1 0.1 0.3 0.1 0.3 0.4\n1 0.1 0.1 0.3 0.1 0.3 0.4 0.2 0.2\n"),
    }


def _labelled(rng: Random) -> Input:
    tool = rng.choice(list(_labels()))
    name, value = _labels()[tool]
    files = {f"parts/{image}.png": _small(number) for number, image in enumerate("abc")}
    if tool == "yolo":
        files["parts/classes.txt"] = b"scratch\ndent\n"
        if rng.random() < 0.2:
            del files["parts/classes.txt"]
            tables = (
                "names: [scratch, dent]",
                "names: {0: scratch, 1: &a dent, 2: *a}",
                _yaml_bomb(),
                "!!python/name:os",
            )
            files["parts/data.yaml"] = damaged_bytes(rng.choice(tables).encode(), rng, (), ())[0]
    if isinstance(value, str):
        files[f"parts/{name}"] = _damaged_text(value, rng)
    else:
        files[f"parts/{name}"] = as_json(damaged_value(value, rng), rng)
    return Input(files, f"{tool}: labels changed", {"tool": tool})


def _yaml_bomb() -> str:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join([*rows, "names: *a8"])


def _damaged_text(text: str, rng: Random) -> bytes:
    """Words and numbers of a text changed for odd ones, or its bytes damaged."""
    if rng.random() < 0.3:
        return damaged_bytes(text.encode(), rng, (), ())[0]
    for _ in range(rng.choice((1, 1, 2, 4))):
        start = rng.randrange(len(text))
        stop = start + rng.choice((1, 3, 8))
        odd = rng.choice((*ODD_TEXTS, "<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "999999999999", "-0.5", "<box/>", "]]>"))
        text = text[:start] + odd + text[stop:]
    return text.encode("utf-8", "surrogatepass")


def _look_at_labels(made: Input, folder: Path) -> str:
    lines = import_data_set(made.facts["tool"], folder / "parts", folder / "line", unlabelled_are_good=True)
    outside = {path.name for path in folder.iterdir()} - {"parts", "line"}
    if outside:
        raise PassedInSilenceError(f"written beside the line: {sorted(outside)}")
    return "read" if lines else "nothing"


_TABLE = (
    ("image_path", "verdict", "by", "note", "said_at", "image_sha256", "line"),
    ("a.png", "good", "Ann", "=1+1", "2026-03-01T06:30:00+00:00", "", ""),
    ("b.png", "defective", "", "", "", "a" * 64, "mvtec/pill"),
)


def _verdicts(rng: Random) -> Input:
    rows = [list(row) for row in _TABLE]
    for _ in range(rng.choice((1, 2, 4))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(ODD_TEXTS)
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    data = text.getvalue().encode("utf-8", "surrogatepass")
    if rng.random() < 0.4:
        data = damaged_bytes(data, rng, (), ())[0]
    return Input({"verdicts.csv": data, "a.png": _small(0)}, "cells changed")


def _look_at_verdicts(_made: Input, folder: Path) -> str:
    read_verdicts(folder / "verdicts.csv", "mvtec/pill")
    return "read"


def _list(rng: Random) -> Input:
    lines = [rng.choice(ODD_TEXTS) for _ in range(rng.randrange(1, 8))]
    data = "\n".join(["a.png", *lines]).encode("utf-8", "surrogatepass")
    return Input({"list.txt": damaged_bytes(data, rng, (), ())[0] if rng.random() < 0.5 else data}, "lines changed")


def _look_at_list(_made: Input, folder: Path) -> str:
    source = ListSource(folder / "list.txt")
    if source.total != sum(1 for _ in source.items()):
        raise PassedInSilenceError("another number of lines than it counted")
    return "read"


SURFACES = (
    Surface("line folders", 0.01, _line, _look_at_line),
    Surface("labels", 0.04, _labelled, _look_at_labels),
    Surface("verdicts", 0.03, _verdicts, _look_at_verdicts),
    Surface("lists of images", 0.04, _list, _look_at_list),
)
