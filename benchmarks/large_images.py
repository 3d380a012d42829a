"""What larger inputs are worth for images above 512 px: trays of four parts, a defect in at most one of them.

python -m benchmarks.large_images LINES [--lines mvtec/pill,...] [--sizes 256,512,1024] [--write]

No line at hand has images above 512 px. A tray is four images of a line side by side, 1024 px square: an image as large
as a camera's, with defects as small in it as such images have them. Test parts are in no support.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.draws import Extraction, uncached
from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table
from benchmarks.turned_lines import write_image
from flows.views import view_of
from model_zoo.learner_table import make_learner
from pipeline.evaluation import ranking_figures, read_truth, score_levels
from pipeline.imaging.images import read_native
from pipeline.product_lines.lines import ImageRecord, ProductLine, load_line
from pipeline.support import build_query, read_defect_mask

LINES = "mvtec/pill,mpdd/metal_plate,otx_hazelnut/hazelnut,aws_l4v/cookie"
PART = 512
GOOD, DEFECTS, QUERY = 4, 4, 12
Cell = tuple[int, int]
"""Input size and number of defects."""


class Measured(NamedTuple):
    """Metrics, seconds of adaptation, and milliseconds of an image read and scored."""

    metrics: list[float]
    seconds: float
    milliseconds: float


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    parser = options(__doc__, only=LINES)
    parser.add_argument("--sizes", default="256,512,1024")
    study = Study(__file__, parser)
    backbones = [uncached(study.settings, int(size)) for size in study.asked.sizes.split(",")]
    found: dict[str, dict[Cell, Measured]] = {}
    for line in study.lines:
        with tempfile.TemporaryDirectory(prefix="linewise-trays-") as scratch:
            found[line.name] = dict(measured(write_trays(line, Path(scratch)), backbones))
        print(line.name, {cell: percent(of.metrics) for cell, of in found[line.name].items()}, flush=True)
    study.publish(_table(found))


def write_trays(line: ProductLine, folder: Path) -> ProductLine:
    """Trays of the line's images in the MVTec AD layout: `GOOD` and `DEFECTS` to learn from, then the test's.

    A tray's good parts are drawn from the good images, those of training and test trays apart.
    """
    rng = np.random.default_rng(0)
    good = [line.train_good[i] for i in rng.permutation(len(line.train_good))]
    teach, rest = good[: len(good) // 2], [*good[len(good) // 2 :], *line.test_good]
    defects = [line.defects[i] for i in rng.permutation(len(line.defects))][: DEFECTS + QUERY]

    def write(kind: str, parts: Sequence[ImageRecord], name: str) -> None:
        where = rng.permutation(4)
        images = [_part(parts[i]) for i in where]
        write_image(folder / kind / f"{name}.png", _tray(images))
        if any(part.is_defect for part in parts):
            masks = [_mask(parts[i]) for i in where]
            write_image(folder / "ground_truth" / Path(kind).name / f"{name}_mask.png", _tray(masks))

    def some(pool: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
        return [pool[i] for i in rng.permutation(len(pool))[:count]]

    for i in range(GOOD):
        write("train/good", some(teach, 4), f"{i:02}")
    for i in range(QUERY):
        write("test/good", some(rest, 4), f"{i:02}")
    for i, defect in enumerate(defects):
        write("test/defect", [defect, *some(teach if i < DEFECTS else rest, 3)], f"{i:02}")
    return load_line(folder)


def measured(trays: ProductLine, backbones: Sequence[Extraction]) -> Iterator[tuple[Cell, Measured]]:
    """By input size and number of defects."""
    query = [*trays.test_good, *trays.defects[DEFECTS:]]
    for seen in backbones:
        for count in (0, DEFECTS):
            start = time.perf_counter()
            view = view_of(seen.backbone, trays.train_good, trays.defects[:count], seed=0)
            head = make_learner("auto", seen.backbone.spec, seed=0).adapt(view.support, seed=0)
            adapted = time.perf_counter() - start
            start = time.perf_counter()
            output = score_levels(head, build_query(query, seen.features, view.preprocess).levels)
            milliseconds = 1e3 * (time.perf_counter() - start) / len(query)
            figures = ranking_figures(output, read_truth(query, (PART, PART)))
            yield (view.preprocess.height, count), Measured(metrics(figures), adapted, milliseconds)


def _part(record: ImageRecord) -> NDArray[np.uint8]:
    return cv2.resize(read_native(record.path), (PART, PART), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _mask(record: ImageRecord) -> NDArray[np.uint8]:
    mask = read_defect_mask(record) if record.is_defect else None
    if mask is None:
        return np.zeros((PART, PART), np.uint8)
    resized = cv2.resize(mask.astype(np.uint8) * 255, (PART, PART), interpolation=cv2.INTER_NEAREST)
    return resized.astype(np.uint8, copy=False)


def _tray(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.concatenate([np.concatenate(parts[:2], 1), np.concatenate(parts[2:], 1)], 0)


def _table(found: Mapping[str, Mapping[Cell, Measured]]) -> list[str]:
    cells = list(next(iter(found.values())))
    rows = [[line, *(percent(of_line[cell].metrics) for cell in cells)] for line, of_line in found.items()]
    by_cell = [[of_line[cell] for of_line in found.values()] for cell in cells]
    rows.append(["**mean**", *(percent(mean(of.metrics for of in lines)) for lines in by_cell)])
    costs = [mean((of.seconds, of.milliseconds) for of in lines) for lines in by_cell]
    for what, column in zip(
        ("adaptation, s", "an image decoded and scored, ms"), zip(*costs, strict=True), strict=True
    ):
        rows.append([what, *(f"{cost:.3g}" for cost in column)])
    return table(["trays of", *(f"{size} px, {GOOD} + {count}" for size, count in cells)], rows)


if __name__ == "__main__":
    main()
