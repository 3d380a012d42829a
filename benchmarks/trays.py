"""Trays of real parts: images as large as a camera's, with a defect in at most one part of each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.turned_lines import write_image
from pipeline.imaging.images import read_native
from pipeline.product_lines.lines import ImageRecord, ProductLine, load_line
from pipeline.support import read_defect_mask

PART = 512
"""The side that a part has in a tray, in pixels, unless told otherwise."""


class TrayCounts(NamedTuple):
    """Good and defective trays to learn from, and of either to test; parts along a side of one, and a part's pixels."""

    good: int
    defects: int
    query: int
    across: int = 2
    part: int = PART


def write_trays(line: ProductLine, folder: Path, counts: TrayCounts, seed: int = 0) -> ProductLine:
    """Trays of the line's images in the MVTec AD layout; of its defects, the first `counts.defects` are to learn from.

    A tray's good parts are drawn from the good images, those of training and test trays apart; where a tray has more
    parts than there are such images, one lies there several times.
    """
    rng = np.random.default_rng(seed)
    good = [line.train_good[i] for i in rng.permutation(len(line.train_good))]
    teach, rest = good[: len(good) // 2], [*good[len(good) // 2 :], *line.test_good]
    defects = [line.defects[i] for i in rng.permutation(len(line.defects))][: counts.defects + counts.query]
    parts_each = counts.across**2

    def write(kind: str, parts: Sequence[ImageRecord], name: str) -> None:
        where = rng.permutation(parts_each)
        images = [_part(parts[i].path, counts.part) for i in where]
        write_image(folder / kind / f"{name}.png", _tray(images, counts.across))
        if any(part.is_defect for part in parts):
            masks = [_mask(parts[i], counts.part) for i in where]
            write_image(folder / "ground_truth" / Path(kind).name / f"{name}_mask.png", _tray(masks, counts.across))

    def some(pool: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
        if count > len(pool):
            return [pool[i] for i in rng.integers(len(pool), size=count)]
        return [pool[i] for i in rng.permutation(len(pool))[:count]]

    for i in range(counts.good):
        write("train/good", some(teach, parts_each), f"{i:02}")
    for i in range(counts.query):
        write("test/good", some(rest, parts_each), f"{i:02}")
    for i, defect in enumerate(defects):
        others = some(teach if i < counts.defects else rest, parts_each - 1)
        write("test/defect", [defect, *others], f"{i:02}")
    return load_line(folder)


@lru_cache(maxsize=256)
def _part(path: Path, side: int) -> NDArray[np.uint8]:
    return cv2.resize(read_native(path), (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _mask(record: ImageRecord, side: int) -> NDArray[np.uint8]:
    mask = read_defect_mask(record) if record.is_defect else None
    if mask is None:
        return np.zeros((side, side), np.uint8)
    resized = cv2.resize(mask.astype(np.uint8) * 255, (side, side), interpolation=cv2.INTER_NEAREST)
    return resized.astype(np.uint8, copy=False)


def _tray(parts: Sequence[NDArray[np.uint8]], across: int) -> NDArray[np.uint8]:
    rows = (np.concatenate(parts[i : i + across], 1) for i in range(0, len(parts), across))
    return np.concatenate(list(rows), 0)
