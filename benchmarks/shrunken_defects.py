"""Whole or in tiles, where a large image shows each part, and its defect, small: trays of 4 x 4 parts, 1024 px square.

    python -m benchmarks.shrunken_defects LINES [--lines mvtec/pill,...] [--draws 1] [--write]

A part is 256 px in its tray. Seen whole at 128 px a tray shows it at an eighth of its size, at 256 px at a quarter;
5 x 5 tiles of 256 px show it at its own. An image of 4096 px seen at 512 px shrinks what it shows as much. Beside the
ranks, the evidence by which `auto` chooses an input size: how well distances tell the support's own defects from its
good images.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table
from benchmarks.trays import TrayCounts, write_trays
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import SUPPORT, view_of
from model_zoo.learner_table import make_learner
from pipeline.evaluation import ranking_figures, read_truth, score_levels
from pipeline.features import DEFAULT_BACKBONE
from pipeline.learner import AnomalyOutput
from pipeline.product_lines.lines import ProductLine
from pipeline.support import DirectFeatures, build_unlabelled
from pipeline.tiled_output import over_images

LINES = "mvtec/pill,mpdd/metal_plate,aws_l4v/cookie"
COUNTS = TrayCounts(4, 4, 8, across=4, part=256)
UNIT = "whole, 256 px: 1/4"
WAYS: dict[str, tuple[int, tuple[int, int] | None]] = {
    "whole, 128 px: 1/8": (128, None),
    UNIT: (256, None),
    "whole, 512 px: 1/2": (512, None),
    "2 x 2 tiles of 256 px: 0.44": (256, (2, 2)),
    "5 x 5 tiles of 256 px: 1": (256, (5, 5)),
}
"""Side of the input, and rows and columns of tiles; named with how large a part is shown, in shares of its own size."""
JUDGED_AT = (512, 512)
"""Pixels are counted at one size."""
FIGURES = ("image_auroc", "aupro")


class Found(NamedTuple):
    """Image AUROC and AUPRO, the evidence, and CPU seconds of a test image decoded and scored."""

    ranks: list[float]
    evidence: float
    seconds: float


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    study = Study(__file__, options(__doc__, only=LINES, draws=1))
    backbones = {side: open_backbone(DEFAULT_BACKBONE, side, study.settings) for side, _ in WAYS.values()}
    rows: list[list[str]] = []
    for line in study.lines:
        draws: list[dict[str, Found]] = []
        for seed in study.draws:
            with tempfile.TemporaryDirectory(prefix="linewise-trays-") as scratch:
                draws.append(dict(measured(write_trays(line, Path(scratch), COUNTS, seed), backbones)))
        rows += [[line.name, *row] for row in _rows(draws)]
    study.publish(table(("trays of", "seen, and a part's size in it", "AUROC / AUPRO", "evidence", "CPU time"), rows))


def measured(trays: ProductLine, backbones: Mapping[int, OpenBackbone]) -> Iterator[tuple[str, Found]]:
    """By the way a tray is seen."""
    query = [*trays.test_good, *trays.defects[COUNTS.defects :]]
    truth = read_truth(query, JUDGED_AT)
    for name, (side, tiles) in WAYS.items():
        backbone, config = backbones[side], replace(SUPPORT, synthetic=0)  # the support has defects of its own
        view = view_of(backbone, trays.train_good, trays.defects[: COUNTS.defects], config=config, tiles=tiles, seed=0)
        chosen = make_learner("auto", backbone.spec, seed=0).choose(view.support, seed=0)
        began, outputs = time.process_time(), list[AnomalyOutput]()
        for record in query:  # one by one: the features of all tiles of all images would fill the memory
            seen = build_unlabelled([record], DirectFeatures(view.extractor), view.preprocess, ())
            outputs.append(over_images(score_levels(chosen.head, seen.levels), view.tiles))
        seconds = (time.process_time() - began) / len(query)
        output = AnomalyOutput(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))
        ranks = metrics(ranking_figures(output, truth), FIGURES)
        print(f"{name} | {percent(ranks)} | {chosen.evidence:.2f} | {seconds:.2f} s", flush=True)
        yield name, Found(ranks, chosen.evidence, seconds)


def _rows(draws: Sequence[Mapping[str, Found]]) -> Iterator[list[str]]:
    """A row for each way: what it ranks, its evidence, and its time in those of the whole image at 256 px."""
    unit = mean([of[UNIT].seconds] for of in draws)[0]
    for name in WAYS:
        evidence, seconds = mean((of[name].evidence, of[name].seconds) for of in draws)
        yield [name, percent(mean(of[name].ranks for of in draws)), f"{evidence:.2f}", f"{seconds / unit:.2g}"]


if __name__ == "__main__":
    main()
