"""What the input size does to the memory bank, line by line, on real lines.

    python -m benchmarks.scale LINES --sizes 256,512 [--write]

4 good images, 2 draws (`Random(seed)` over the sorted files of train/good), at most 50 good and 60 defective test
images a line. Fused: the sum of the sizes' image scores, each minus the mean of its own leave-one-out scores.
`--write` puts the figures into scale.md.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np

from benchmarks.bank_draws import GOOD, Scores, mean_lines, mean_metrics, measure
from benchmarks.pages import made_today, percent, replace_figures
from flows.open_backbone import OpenBackbone, open_backbone
from pipeline.evaluation import read_truth
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ImageRecord, ProductLine, find_lines
from pipeline.settings import load_settings
from pipeline.support import DirectFeatures, build_query, sample_images

SEEDS = (0, 1)


def query_of(line: ProductLine) -> list[ImageRecord]:
    """At most 50 good and 60 defective test images; a line without test/good gives none of the support's."""
    spare = sample_images(line, good=GOOD * len(SEEDS), defects=0, query=100, seed=0, spare_good=True).query
    good = list(line.test_good) or [record for record in spare if not record.is_defect]
    defects = list(line.defects)
    for records in (good, defects):
        random.Random(0).shuffle(records)
    return good[:50] + defects[:60]


def draws_of(line: ProductLine, backbone: OpenBackbone) -> tuple[list[float], list[Scores]]:
    """Mean metrics over the draws, and each draw's centred image scores."""
    features, records = DirectFeatures(backbone.extractor), query_of(line)
    query, truth = build_query(records, features, backbone.preprocess()), read_truth(records, (256, 256))
    draws = []
    for seed in SEEDS:
        good = sample_images(line, good=GOOD, defects=0, query=2, seed=seed, spare_good=False).good
        draws.append(measure(good, query, truth, features, backbone, seed=seed))
    return mean_metrics([draw.row for draw in draws]), [draw.scores - draw.leave_one_out.mean() for draw in draws]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--sizes", default="256,512")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    started, settings = time.monotonic(), load_settings()
    backbones = [open_backbone("tf_efficientnet_lite0", size, settings) for size in sizes]
    rows = ["| line | " + " | ".join(f"{size} px" for size in sizes) + " | fused, image AUROC |"]
    rows.append("|---" * (len(sizes) + 2) + "|")
    table, fused = [], []
    for line in find_lines(arguments.lines):
        truth = np.array([record.is_defect for record in query_of(line)])
        measured = [draws_of(line, backbone) for backbone in backbones]
        sums = [sum(scores[draw] for _, scores in measured) for draw in range(len(SEEDS))]
        table.append([metrics for metrics, _ in measured])
        fused.append(float(np.mean([image_auroc(scores, truth) for scores in sums])))
        rows.append(f"| {line.name} | {cells(table[-1])} | {100 * fused[-1]:.1f} |")
        print(rows[-1], flush=True)
    means = [mean_lines(column) for column in zip(*table, strict=True)]
    rows.append(f"| **mean** | {cells(means)} | {100 * np.mean(fused):.1f} |")
    minutes = (time.monotonic() - started) / 60
    figures = f"{made_today()}, {minutes:.1f} minutes.\n\n" + "\n".join(rows)
    print(figures)
    if arguments.write:
        replace_figures(Path(__file__).with_suffix(".md"), figures)


def cells(sizes: list[list[float]]) -> str:
    return " | ".join(percent(metrics) for metrics in sizes)


if __name__ == "__main__":
    main()
