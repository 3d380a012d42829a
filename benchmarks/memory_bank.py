"""What the border weight and the calibration's rules do to the memory bank, on real lines.

    python benchmarks/memory_bank.py LINES [--peer peer.json] > benchmarks/memory_bank.md

4 good images, 3 draws (`Random(seed)` over the sorted files of train/good), all test images as query. `peer.json` holds
another tool's figures on the same draws: {"tool": ..., "rows": [{"line", "seed", "image_auroc", "pixel_auroc", ...}]}.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import model_zoo.memory_bank
import model_zoo.positional
from flows.jobs.backbones import open_backbone
from model_zoo.learner_table import make_learner
from pipeline.calibration import PooledCalibration, SourceScores, calibrate, pool
from pipeline.evaluation import Row, evaluate_outputs, read_truth, score_levels
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import load_settings
from pipeline.support import SupportConfig, build_query, build_support, sample_images

SEEDS = (0, 1, 2)
WEIGHTED = model_zoo.memory_bank.border_weight
RATES = (0.01, 0.05)


def no_weight(h: int, w: int) -> torch.Tensor:
    return torch.ones(h, w)


class Bench:
    def __init__(self, lines: list[ProductLine]) -> None:
        settings = load_settings()
        backbone = open_backbone("tf_efficientnet_lite0", 256, settings)
        self.lines, self.store, self.preprocess = lines, backbone.cached(settings), backbone.preprocess()
        self.size = (backbone.spec.height, backbone.spec.width)
        self.learner = make_learner("memory_bank", backbone.spec)

    def row(self, line: ProductLine, seed: int) -> tuple[Row, SourceScores, NDArray[np.float64]]:
        """Metrics, then what calibration sees of the draw, then the defects' scores."""
        images = sample_images(line, good=4, defects=0, query=100_000, seed=seed, spare_good=False)
        support = build_support(images.good, (), self.store, self.preprocess, SupportConfig(synthetic=0), seed=seed)
        query = build_query(images.query, self.store, self.preprocess)
        head = self.learner.adapt(support, seed=seed)
        output, loo = score_levels(head, query.levels), head.leave_one_out(support)
        truth = read_truth(images.query, self.size)
        row = evaluate_outputs(output, loo, truth, target_false_reject_rate=0.01, pooled=None)
        scores = output.image_score.double().numpy()
        seen = SourceScores(line.name, loo.image_score.double().numpy(), scores[~truth.labels])
        return row, seen, scores[truth.labels]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--peer", type=Path)
    arguments = parser.parse_args()
    started = time.monotonic()
    bench = Bench(find_lines(arguments.lines))
    peer = json.loads(arguments.peer.read_text()) if arguments.peer else {"tool": "peer", "rows": []}
    table: dict[str, list[dict[str, float]]] = {}
    draws: dict[str, list[tuple[SourceScores, NDArray[np.float64]]]] = {}
    for line in bench.lines:
        table[line.name] = []
        for weight in (no_weight, WEIGHTED):
            model_zoo.memory_bank.border_weight = weight
            runs = [bench.row(line, seed) for seed in SEEDS]
            table[line.name].append(mean_of([row for row, _, _ in runs]))
            draws[line.name] = [(seen, defects) for _, seen, defects in runs]
        table[line.name].append(mean_of([row for row in peer["rows"] if row["line"] == line.name]))
    print_metrics(table, str(peer["tool"]))
    print_thresholds(bench.lines, draws)
    print(f"\n{(time.monotonic() - started) / 60:.1f} minutes.")


METRICS = ("image_auroc", "pixel_auroc", "aupro")


def mean_of(rows: list[Row]) -> dict[str, float]:
    values = {key: [row[key] for row in rows if row.get(key) is not None] for key in METRICS}
    return {key: float(np.mean(found)) if found else math.nan for key, found in values.items()}


def print_metrics(table: dict[str, list[dict[str, float]]], peer: str) -> None:
    print(f"| line | all cells alike | faded towards the border | {peer} |\n|---|---|---|---|")
    for line, columns in table.items():
        print(f"| {line} | " + " | ".join(cell([column[key] for key in METRICS]) for column in columns) + " |")
    means = [[float(np.nanmean([c[i][key] for c in table.values()])) for key in METRICS] for i in range(3)]
    print("| **mean** | " + " | ".join(f"**{cell(mean)}**" for mean in means) + " |")


def cell(values: list[float]) -> str:
    return " / ".join("-" if math.isnan(value) else f"{100 * value:.1f}" for value in values)


def print_thresholds(
    lines: list[ProductLine], draws: dict[str, list[tuple[SourceScores, NDArray[np.float64]]]]
) -> None:
    print(
        "\n| rule | asked for | false rejects | median line | worst line | missed defects |\n|---|---|---|---|---|---|"
    )
    for rate in RATES:
        for rule in ("all source lines", "strayed lines left out", "the line's own good test images"):
            false, missed = [], []
            for line in lines:
                others = [seen for o in lines if o.data_set != line.data_set for seen, _ in draws[o.name]]
                pooled = pool(others)
                if rule == "all source lines":
                    pooled = keep_strayed(pooled)
                thresholds = [
                    float(np.quantile(seen.good_query, 1 - rate, method="higher"))
                    if rule.startswith("the line")
                    else calibrate(
                        seen.leave_one_out,
                        np.zeros((1, 1, 1), np.float32),
                        target_false_reject_rate=rate,
                        pooled=pooled,
                    ).reject
                    for seen, _ in draws[line.name]
                ]
                pairs = list(zip(draws[line.name], thresholds, strict=True))
                false.append(np.mean([(seen.good_query >= t).mean() for (seen, _), t in pairs]))
                missed.append(np.mean([(defects < t).mean() for (_, defects), t in pairs]))
            figures = (np.mean(false), np.median(false), np.max(false), np.mean(missed))
            print(f"| {rule} | {rate:.0%} | " + " | ".join(f"{100 * float(v):.1f}" for v in figures) + " |")


class _Everything(PooledCalibration):
    @property
    def strayed(self) -> tuple[str, ...]:
        return ()


def keep_strayed(pooled: PooledCalibration) -> PooledCalibration:
    return _Everything(deviations=pooled.deviations, spread=pooled.spread)


if __name__ == "__main__":
    main()
