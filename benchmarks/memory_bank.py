"""What the border weight and the calibration's rules do to the memory bank, on real lines.

    python -m benchmarks.memory_bank LINES [--peer peer.json] [--write]

4 good images, 3 draws (`Random(seed)` over the sorted files of train/good), all test images as query. `peer.json` holds
another tool's figures on the same draws: {"tool": ..., "rows": [{"line", "seed", "image_auroc", "pixel_auroc", ...}]}.
`--write` puts the figures into memory_bank.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import model_zoo.heads.bank
from benchmarks.bank_draws import GOOD, Draw, Scores, mean_lines, mean_metrics, measure
from benchmarks.pages import made_today, percent, replace_figures
from flows.open_backbone import open_backbone
from pipeline.calibration import (
    PooledCalibration,
    SourceScores,
    calibrate,
    centre,
    lines_alike,
    pool,
    weighted_quantile,
)
from pipeline.evaluation import read_truth
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import load_settings
from pipeline.support import build_query, sample_images

SEEDS = (0, 1, 2)
WEIGHTED = model_zoo.heads.bank.border_weight
RATES = (0.01, 0.05)
RULES = ("all source lines", "strayed lines left out", "the line's own good test images")
NO_MAPS = np.zeros((1, 1, 1), np.float32)


def no_weight(h: int, w: int) -> torch.Tensor:
    return torch.ones(h, w)


class Bench:
    def __init__(self) -> None:
        settings = load_settings()
        self.backbone = open_backbone("tf_efficientnet_lite0", 256, settings)
        self.features = self.backbone.cached(settings)

    def draw(self, line: ProductLine, seed: int) -> tuple[Draw, SourceScores, Scores]:
        """Metrics, then what calibration sees of the draw, then the defects' scores."""
        images = sample_images(line, good=GOOD, defects=0, query=100_000, seed=seed, spare_good=False)
        query = build_query(images.query, self.features, self.backbone.preprocess())
        truth = read_truth(images.query, (self.backbone.spec.height, self.backbone.spec.width))
        draw = measure(images.good, query, truth, self.features, self.backbone, seed=seed)
        seen = SourceScores(line.name, draw.leave_one_out, draw.scores[~truth.labels])
        return draw, seen, draw.scores[truth.labels]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    started = time.monotonic()
    lines, bench = find_lines(arguments.lines), Bench()
    peer = json.loads(arguments.peer.read_text()) if arguments.peer else {"tool": "peer", "rows": []}
    table: dict[str, list[list[float]]] = {}
    draws: dict[str, list[tuple[SourceScores, Scores]]] = {}
    for line in lines:
        table[line.name] = []
        for weight in (no_weight, WEIGHTED):
            model_zoo.heads.bank.border_weight = weight
            runs = [bench.draw(line, seed) for seed in SEEDS]
            table[line.name].append(mean_metrics([draw.row for draw, _, _ in runs]))
            draws[line.name] = [(seen, defects) for _, seen, defects in runs]
        table[line.name].append(mean_metrics([row for row in peer["rows"] if row["line"] == line.name]))
    parts = [metrics_table(table, str(peer["tool"])), thresholds_table(lines, draws)]
    minutes = (time.monotonic() - started) / 60
    figures = "\n\n".join([f"{made_today()}, {minutes:.1f} minutes.", *parts])
    print(figures)
    if arguments.write:
        replace_figures(Path(__file__).with_suffix(".md"), figures)


def metrics_table(table: dict[str, list[list[float]]], peer: str) -> str:
    rows = [f"| line | all cells alike | faded towards the border | {peer} |", "|---|---|---|---|"]
    rows += [
        f"| {line} | " + " | ".join(percent(column) for column in columns) + " |" for line, columns in table.items()
    ]
    means = [mean_lines(column) for column in zip(*table.values(), strict=True)]
    return "\n".join([*rows, "| **mean** | " + " | ".join(f"**{percent(mean)}**" for mean in means) + " |"])


def thresholds_table(lines: list[ProductLine], draws: dict[str, list[tuple[SourceScores, Scores]]]) -> str:
    rows = [
        "| rule | asked for | false rejects | median line | worst line | missed defects |",
        "|---|---|---|---|---|---|",
    ]
    for rate in RATES:
        for rule in RULES:
            false, missed = [], []
            for line in lines:
                pooled = pool([seen for o in lines if o.data_set != line.data_set for seen, _ in draws[o.name]])
                judged = [(seen, defects, threshold(rule, rate, seen, pooled)) for seen, defects in draws[line.name]]
                false.append(np.mean([(seen.good_query >= t).mean() for seen, _, t in judged]))
                missed.append(np.mean([(defects < t).mean() for _, defects, t in judged]))
            figures = (np.mean(false), np.median(false), np.max(false), np.mean(missed))
            rows.append(f"| {rule} | {rate:.0%} | " + " | ".join(f"{100 * float(v):.1f}" for v in figures) + " |")
    return "\n".join(rows)


def threshold(rule: str, rate: float, seen: SourceScores, pooled: PooledCalibration) -> float:
    """The reject threshold of a line by one of RULES; the second is the product's."""
    if rule == RULES[0]:
        mean, spread = centre(seen.leave_one_out, pooled.spread)
        return mean + weighted_quantile(*lines_alike(list(pooled.deviations.values())), rate) * spread
    if rule == RULES[1]:
        return calibrate(seen.leave_one_out, NO_MAPS, target_false_reject_rate=rate, pooled=pooled).reject
    return float(np.quantile(seen.good_query, 1 - rate, method="higher"))


if __name__ == "__main__":
    main()
