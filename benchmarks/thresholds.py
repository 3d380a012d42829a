"""Thresholds without a meta-model, as `linewise adapt` sets them: what they reject and what they miss on real lines.

python -m benchmarks.thresholds LINES [--lines NAME,...] [--draws 3] [--write]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.pages import made_today, replace_figures
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import view_of
from model_zoo.learner_table import make_learner
from pipeline.evaluation import score_levels
from pipeline.feature_store import FeatureStore
from pipeline.head_calibration import calibrate_head
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import load_settings
from pipeline.support import build_query, sample_images

PAGE = Path(__file__).with_suffix(".md")
LEARNERS = ("memory_bank", "auto")
SUPPORTS = ((1, 0), (1, 4), (2, 0), (2, 4), (4, 0), (4, 4))
RATE = 0.01
QUERY = 80
Cell = tuple[str, int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", help="only these, comma-separated")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    settings = load_settings()
    backbone = open_backbone("tf_efficientnet_lite0", 256, settings)
    wanted = arguments.lines.split(",") if arguments.lines else None
    lines = [line for line in find_lines(arguments.folder) if wanted is None or line.name in wanted]
    means: dict[str, dict[Cell, tuple[float, float]]] = {}
    for line in lines:
        shares: dict[Cell, list[tuple[float, float]]] = defaultdict(list)
        for seed in range(arguments.draws):
            for good, defects in SUPPORTS:
                found = rejected_and_missed(line, backbone, backbone.cached(settings), good, defects, seed)
                for name, share in zip(LEARNERS, found, strict=True):
                    shares[name, good, defects].append(share)
        means[line.name] = {cell: _mean(values) for cell, values in shares.items()}
        print(
            line.name, {cell: f"{share[0]:.0%}/{share[1]:.0%}" for cell, share in means[line.name].items()}, flush=True
        )
    page = "\n".join([f"{made_today()}, {len(lines)} lines, {arguments.draws} draws", "", *_table(means)])
    print(page)
    if arguments.write:
        replace_figures(PAGE, page)


def rejected_and_missed(
    line: ProductLine, backbone: OpenBackbone, features: FeatureStore, good: int, defects: int, seed: int
) -> list[tuple[float, float]]:
    """Shares of good query images at or above the threshold and of defective ones below it, a learner each."""
    drawn = sample_images(line, good=good, defects=defects, query=QUERY, seed=seed)
    view = view_of(backbone, drawn.good, drawn.defects, features=features, seed=seed)
    query = build_query(drawn.query, features, backbone.preprocess())
    shares: list[tuple[float, float]] = []
    for name in LEARNERS:
        head = make_learner(name, backbone.spec, seed=seed).adapt(view.support, seed=seed)
        limit = calibrate_head(head, view.support, RATE, None).reject
        rejected = score_levels(head, query.levels).image_score.numpy() >= limit
        defective = query.labels.numpy()
        shares.append((float(rejected[~defective].mean()), float((~rejected[defective]).mean())))
    return shares


def _mean(shares: Sequence[tuple[float, float]]) -> tuple[float, float]:
    rejected, missed = np.mean(shares, axis=0)
    return float(rejected), float(missed)


def _table(means: dict[str, dict[Cell, tuple[float, float]]]) -> list[str]:
    """Means over lines, and the line whose good parts are rejected most."""
    rows = [
        "| good | defective | learner | good rejected, % | defects missed, % | most good rejected |",
        "|---|---|---|---|---|---|",
    ]
    for good, defects in SUPPORTS:
        for name in LEARNERS:
            cell = name, good, defects
            rejected, missed = _mean([found[cell] for found in means.values()])
            worst = max(means, key=lambda line: means[line][cell][0])
            most = f"{worst}, {100 * means[worst][cell][0]:.0f} %"
            rows.append(f"| {good} | {defects} | {name} | {100 * rejected:.1f} | {100 * missed:.0f} | {most} |")
    return rows


if __name__ == "__main__":
    main()
