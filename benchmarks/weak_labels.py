"""What `auto` loses when its defects are outlined by boxes or known by their image's label only, instead of by masks.

python -m benchmarks.weak_labels LINES [--draws 3] [--write]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.pages import made_today, percent, replace_figures
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import AdaptedLine, View, adapt_to_best, candidate_sizes, view_of
from model_zoo.learner_table import make_learner
from pipeline.evaluation import evaluate_outputs, read_truth, score_levels
from pipeline.head_calibration import calibrate_head
from pipeline.product_lines.lines import ImageRecord, ProductLine, find_lines
from pipeline.settings import Settings, load_settings
from pipeline.support import build_query, sample_images

PAGE = Path(__file__).with_suffix(".md")
METRICS = ("image_auroc", "pixel_auroc", "aupro")
GOOD, DEFECTS, QUERY = 4, (1, 4), 80
Figures = tuple[float, ...]
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    settings = load_settings()
    lines = [line for line in find_lines(arguments.folder) if line.has_masks]
    backbones: dict[int, OpenBackbone] = {}
    found: dict[str, dict[Cell, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        for seed in range(arguments.draws):
            for cell, figures in _of_draw(line, backbones, settings, seed):
                found[line.name][cell].append(figures)
        print(line.name, {cell: percent(np.mean(f, axis=0)) for cell, f in found[line.name].items()}, flush=True)
    page = "\n".join([f"{made_today()}, {len(lines)} lines, {arguments.draws} draws", "", *_table(found)])
    print(page)
    if arguments.write:
        replace_figures(PAGE, page)


def _of_draw(
    line: ProductLine, backbones: dict[int, OpenBackbone], settings: Settings, seed: int
) -> list[tuple[Cell, Figures]]:
    """Every cell of one draw of a line's images: the same support images and query, given in other ways."""
    drawn = sample_images(line, good=GOOD, defects=max(DEFECTS), query=QUERY, seed=seed, spare_good=False)
    sizes = candidate_sizes((*drawn.good, *drawn.defects))
    for size in sizes:
        backbones.setdefault(size, open_backbone("tf_efficientnet_lite0", size, settings))
    cells: list[tuple[Cell, Figures]] = []
    for defects in (0, *DEFECTS):
        views = [
            view_of(backbone, drawn.good, drawn.defects[:defects], features=backbone.cached(settings), seed=seed)
            for backbone in (backbones[size] for size in sizes)
        ]
        for given, change in GIVEN.items() if defects else (("-", _with_masks),):
            learner = make_learner("auto", views[0].backbone.spec, seed=seed)
            adapted = adapt_to_best(learner, [change(view) for view in views], seed=seed)
            cells.append(((defects, given), _figures(adapted, drawn.query, settings)))
    return cells


def _figures(adapted: AdaptedLine, records: Sequence[ImageRecord], settings: Settings) -> Figures:
    view = adapted.view
    query = build_query(records, view.backbone.cached(settings), view.preprocess)
    row = evaluate_outputs(
        score_levels(adapted.head, query.levels),
        read_truth(records, (256, 256)),
        calibrate_head(adapted.head, view.support, 0.01, None),
    )
    return tuple(float(row[metric]) for metric in METRICS)


def _table(found: dict[str, dict[Cell, list[Figures]]]) -> list[str]:
    """Means over draws and lines; against masks: the mean difference, and the line that loses most image AUROC."""
    means = {line: {cell: np.mean(f, axis=0) for cell, f in cells.items()} for line, cells in found.items()}
    rows = [
        "| defects | given as | image AUROC / pixel AUROC / AUPRO | against masks | loses most, image AUROC |",
        "|---|---|---|---|---|",
    ]
    for cell in CELLS:
        defects, given = cell
        text = percent(np.mean([of_line[cell] for of_line in means.values()], axis=0))
        against, worst = "-", "-"
        if defects and given != "masks":
            gains = {line: 100 * (of_line[cell] - of_line[defects, "masks"]) for line, of_line in means.items()}
            against = " / ".join(f"{gain:+.1f}" for gain in np.mean(list(gains.values()), axis=0))
            loser = min(gains, key=lambda line: float(gains[line][0]))
            worst = f"{loser} {gains[loser][0]:+.1f}"
        rows.append(f"| {defects} | {given} | {text} | {against} | {worst} |")
    return rows


if __name__ == "__main__":
    main()
