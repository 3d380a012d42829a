"""What `auto` loses when its defects are outlined by boxes or known by their image's label only, instead of by masks.

python -m benchmarks.weak_labels LINES [--draws 3] [--write]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.draws import JUDGED_AT, Extraction, cached
from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table
from flows.views import AdaptedLine, View, adapt_to_best, candidate_sizes, view_of
from model_zoo.learner_table import make_learner
from pipeline.episode_draws import sample_images
from pipeline.evaluation import ranking_figures, read_truth, score_levels
from pipeline.input_size import InputSize
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.support import build_query

GOOD, DEFECTS, QUERY = 4, (1, 4), 80
Cell = tuple[int, str]
"""Number of defects, and how they are given."""


def boxed(masks_MHW: Tensor) -> Tensor:
    """Masks of cell fractions (M, H, W) as the boxes around their connected parts: cells inside are 1."""
    boxes = np.zeros(masks_MHW.shape, np.float32)
    for box, mask in zip(boxes, masks_MHW.numpy(), strict=True):
        _, _, parts, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
        for left, top, width, height, _ in parts[1:]:  # the first is what lies outside
            box[top : top + height, left : left + width] = 1
    return torch.from_numpy(boxes)


def _with_masks(view: View) -> View:
    return view


def _with_boxes(view: View) -> View:
    return replace(view, support=replace(view.support, defect_masks=boxed(view.support.defect_masks)))


def _with_labels(view: View) -> View:
    return replace(view, support=replace(view.support, has_mask=torch.zeros_like(view.support.has_mask)))


GIVEN: dict[str, Callable[[View], View]] = {
    "masks": _with_masks,
    "boxes": _with_boxes,
    "image labels": _with_labels,
}
CELLS: list[Cell] = [(0, "-"), *((defects, given) for defects in DEFECTS for given in GIVEN)]


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    study = Study(__file__, options(__doc__, draws=3))
    study.lines = [line for line in study.lines if line.has_masks]
    by_size = cache(partial(cached, study.settings))
    means: dict[str, dict[Cell, list[float]]] = {}
    for line in study.lines:
        found: dict[Cell, list[list[float]]] = defaultdict(list)
        for seed in study.draws:
            for cell, adapted, query in _of_draw(line, by_size, seed):
                found[cell].append(_figures(adapted, query, by_size))
        means[line.name] = {cell: mean(of_cell) for cell, of_cell in found.items()}
        print(line.name, {cell: percent(of_cell) for cell, of_cell in means[line.name].items()}, flush=True)
    study.publish(_table(means))


def _of_draw(
    line: ProductLine, by_size: Callable[[InputSize], Extraction], seed: int
) -> Iterator[tuple[Cell, AdaptedLine, Sequence[ImageRecord]]]:
    """Every cell of one draw of a line's images: the same support images and query, given in other ways."""
    drawn = sample_images(line, good=GOOD, defects=max(DEFECTS), query=QUERY, seed=seed, spare_good=False)
    sizes = [by_size(size) for size in candidate_sizes((*drawn.good, *drawn.defects))]
    for defects in (0, *DEFECTS):
        views = [
            view_of(seen.backbone, drawn.good, drawn.defects[:defects], features=seen.features, seed=seed)
            for seen in sizes
        ]
        for given, change in GIVEN.items() if defects else (("-", _with_masks),):
            learner = make_learner("auto", views[0].backbone.spec, seed=seed)
            adapted = adapt_to_best(learner, [change(view) for view in views], seed=seed)
            yield (defects, given), adapted, drawn.query


def _figures(
    adapted: AdaptedLine, query: Sequence[ImageRecord], by_size: Callable[[InputSize], Extraction]
) -> list[float]:
    preprocess = adapted.view.preprocess
    levels = build_query(query, by_size(adapted.view.backbone.spec.size).features, preprocess).levels
    return metrics(ranking_figures(score_levels(adapted.head, levels), read_truth(query, JUDGED_AT)))


def _table(means: Mapping[str, Mapping[Cell, Sequence[float]]]) -> list[str]:
    """Means over the lines; against masks: the mean difference, and the line that loses most image AUROC."""
    rows = []
    for cell in CELLS:
        defects, given = cell
        against, worst = "-", "-"
        if defects and given != "masks":
            gains = {
                line: [100 * (own - other) for own, other in zip(of_line[cell], of_line[defects, "masks"], strict=True)]
                for line, of_line in means.items()
            }
            against = " / ".join(f"{gain:+.1f}" for gain in mean(gains.values()))
            loser = min(gains, key=lambda line: gains[line][0])
            worst = f"{loser} {gains[loser][0]:+.1f}"
        rows.append([f"{defects}", given, percent(mean(of_line[cell] for of_line in means.values())), against, worst])
    columns = ("defects", "given as", "image AUROC / pixel AUROC / AUPRO", "against masks", "loses most, image AUROC")
    return table(columns, rows)


if __name__ == "__main__":
    main()
