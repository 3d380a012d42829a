"""Real defects drawn as the tools draw them, and imported: the masks that they were drawn from come back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.product_lines.importers import import_data_set
from pipeline.product_lines.lines import ImageRecord, load_line
from pipeline.support import read_defect_mask

Outline = list[list[float]]


def outlines(mask: np.ndarray) -> list[Outline]:
    """Each part's outline through the middles of its border's pixels, as people click on them."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [[[x + 0.5, y + 0.5] for x, y in part.reshape(-1, 2).tolist()] for part in found if len(part) > 2]


def coco(records: list[ImageRecord], masks: list[np.ndarray | None], folder: Path, *, runs: bool) -> None:
    images, annotations, kinds = [], [], sorted({record.kind for record in records})
    for number, (record, mask) in enumerate(zip(records, masks, strict=True)):
        images.append({"id": number, "file_name": f"{number}.jpg", "height": 512, "width": 512})
        if mask is None:
            continue
        if runs:
            down = mask.T.reshape(-1)
            ends = np.flatnonzero(np.diff(np.concatenate(([False], down, [False]))))
            lengths = np.diff(np.concatenate(([0], ends, [down.size])))
            segmentation: Any = {"size": list(mask.shape), "counts": lengths.tolist()}
        else:
            segmentation = [[value for point in part for value in point] for part in outlines(mask)]
        annotation = {"image_id": number, "category_id": kinds.index(record.kind), "segmentation": segmentation}
        annotations.append({"id": len(annotations), **annotation})
    categories = [{"id": number, "name": kind} for number, kind in enumerate(kinds)]
    told = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(told))


def labelme(records: list[ImageRecord], masks: list[np.ndarray | None], folder: Path) -> None:
    for number, (record, mask) in enumerate(zip(records, masks, strict=True)):
        parts = [] if mask is None else outlines(mask)
        shapes = [{"label": record.kind, "shape_type": "polygon", "points": part} for part in parts]
        told = {"imagePath": f"{number}.jpg", "imageHeight": 512, "imageWidth": 512, "shapes": shapes}
        (folder / f"{number}.json").write_text(json.dumps(told))


def yolo(records: list[ImageRecord], masks: list[np.ndarray | None], folder: Path) -> None:
    kinds = sorted({record.kind for record in records})
    (folder / "classes.txt").write_text("\n".join(kinds))
    for number, (record, mask) in enumerate(zip(records, masks, strict=True)):
        parts = [] if mask is None else outlines(mask)
        lines = [" ".join(str(value / 512) for point in part for value in point) for part in parts]
        text = "".join(f"{kinds.index(record.kind)} {line}\n" for line in lines)
        (folder / f"{number}.txt").write_text(text)


TOOLS: dict[str, tuple[str, Callable[..., None], float]] = {
    "COCO's run lengths": ("coco", lambda *given: coco(*given, runs=True), 1.0),
    "COCO's polygons": ("coco", lambda *given: coco(*given, runs=False), 0.8),
    "LabelMe": ("labelme", labelme, 0.8),
    "YOLO": ("yolo", yolo, 0.8),
}
"""The format, what writes it, and the least IoU: an outline leaves out half of the pixels that it runs through."""


@pytest.mark.parametrize("tool", TOOLS)
def test_pills_that_a_tool_labelled_have_the_masks_that_were_drawn(real_lines: Path, tmp_path: Path, tool: str) -> None:
    line = load_line(real_lines / "mvtec" / "pill")
    records, source = [*line.train_good[:2], *line.defects[::6]], tmp_path / "labelled"
    masks = [read_defect_mask(record) for record in records]
    source.mkdir()
    for number, record in enumerate(records):
        shutil.copy(record.path, source / f"{number}.jpg")
    format, write, least = TOOLS[tool]
    write(records, masks, source)
    (imported,) = import_data_set(format, source, tmp_path / "line")
    assert [record.path.name for record in imported.train_good] == ["0.jpg", "1.jpg"]
    found = {int(record.path.stem): record for record in imported.defects}
    assert sorted(found) == list(range(2, len(records)))
    for number, record in found.items():
        drawn, mask = masks[number], read_defect_mask(record)
        assert record.kind == records[number].kind
        assert drawn is not None
        assert mask is not None
        assert (mask & drawn).sum() / (mask | drawn).sum() >= least
