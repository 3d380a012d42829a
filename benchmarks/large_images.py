"""What larger inputs are worth for images above 512 px: trays of four parts, a defect in at most one of them.

python -m benchmarks.large_images LINES [--lines mvtec/pill,...] [--sizes 256,512,1024] [--write]

No line at hand has images above 512 px. A tray is four images of a line side by side, 1024 px square: an image as large
as a camera's, with defects as small in it as such images have them. Test parts are in no support.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import made_today, percent, replace_figures
from benchmarks.turned_lines import write_image
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import view_of
from model_zoo.learner_table import make_learner
from pipeline.evaluation import evaluate_outputs, read_truth, score_levels
from pipeline.head_calibration import calibrate_head
from pipeline.imaging.images import read_native
from pipeline.product_lines.lines import ImageRecord, ProductLine, find_lines, load_line
from pipeline.settings import load_settings
from pipeline.support import DirectFeatures, build_query, read_defect_mask

PAGE = Path(__file__).with_suffix(".md")
LINES = "mvtec/pill,mpdd/metal_plate,otx_hazelnut/hazelnut,aws_l4v/cookie"
PART = 512
GOOD, DEFECTS, QUERY = 4, 4, 12
METRICS = ("image_auroc", "pixel_auroc", "aupro")
Cell = tuple[int, int]
"""Input size and number of defects."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", default=LINES)
    parser.add_argument("--sizes", default="256,512,1024")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    start, settings = time.perf_counter(), load_settings()
    backbones = [open_backbone("tf_efficientnet_lite0", int(size), settings) for size in arguments.sizes.split(",")]
    wanted = arguments.lines.split(",")
    found: dict[str, dict[Cell, tuple[list[float], float, float]]] = {}
    for line in find_lines(arguments.folder):
        if line.name in wanted:
            with tempfile.TemporaryDirectory(prefix="linewise-trays-") as scratch:
                found[line.name] = dict(measured(write_trays(line, Path(scratch)), backbones))
            print(line.name, {cell: percent(values) for cell, (values, _, _) in found[line.name].items()}, flush=True)
    minutes = (time.perf_counter() - start) / 60
    page = "\n".join([f"{made_today()}, {minutes:.1f} minutes.", "", *_table(found)])
    print(page)
    if arguments.write:
        replace_figures(PAGE, page)


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


def measured(
    trays: ProductLine, backbones: Sequence[OpenBackbone]
) -> Iterator[tuple[Cell, tuple[list[float], float, float]]]:
    """By input size and number of defects: metrics, seconds of adaptation, milliseconds of an image read and scored."""
    query = [*trays.test_good, *trays.defects[DEFECTS:]]
    for backbone in backbones:
        for count in (0, DEFECTS):
            start = time.perf_counter()
            view = view_of(backbone, trays.train_good, trays.defects[:count], seed=0)
            head = make_learner("auto", backbone.spec, seed=0).adapt(view.support, seed=0)
            adapted = time.perf_counter() - start
            start = time.perf_counter()
            output = score_levels(head, build_query(query, DirectFeatures(backbone.extractor), view.preprocess).levels)
            milliseconds = 1e3 * (time.perf_counter() - start) / len(query)
            threshold = calibrate_head(head, view.support, 0.01, None)
            row = evaluate_outputs(output, read_truth(query, (512, 512)), threshold)
            yield (view.preprocess.height, count), ([float(row[metric]) for metric in METRICS], adapted, milliseconds)


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


def _table(found: dict[str, dict[Cell, tuple[list[float], float, float]]]) -> list[str]:
    cells = list(next(iter(found.values())))
    heads = " | ".join(f"{size} px, {GOOD} + {count}" for size, count in cells)
    rows = [f"| trays of | {heads} |", "|---" * (len(cells) + 1) + "|"]
    for line, of_line in found.items():
        rows.append(f"| {line} | " + " | ".join(percent(of_line[cell][0]) for cell in cells) + " |")
    means = [np.mean([of_line[cell][0] for of_line in found.values()], axis=0) for cell in cells]
    rows.append("| **mean** | " + " | ".join(percent(values) for values in means) + " |")
    for place, what in ((1, "adaptation, s"), (2, "an image decoded and scored, ms")):
        costs = (np.mean([of_line[cell][place] for of_line in found.values()]) for cell in cells)
        rows.append(f"| {what} | " + " | ".join(f"{cost:.3g}" for cost in costs) + " |")
    return rows


if __name__ == "__main__":
    main()
