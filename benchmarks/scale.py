"""What the input size does to the memory bank, line by line, on real lines.

    python -m benchmarks.scale LINES --sizes 256,512 > benchmarks/scale.md

4 good images, 2 draws (`Random(seed)` over the sorted files of train/good), at most 50 good and 60 defective test
images a line. Fused: the sum of the sizes' image scores, each minus the mean of its own leave-one-out scores.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.jobs.backbones import OpenBackbone, open_backbone
from model_zoo.learner_table import make_learner
from pipeline.evaluation import evaluate_outputs, read_truth, score_levels
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ImageRecord, ProductLine, find_lines
from pipeline.settings import load_settings
from pipeline.support import DirectFeatures, SupportConfig, build_query, build_support, sample_images

SEEDS = (0, 1)
METRICS = ("image_auroc", "pixel_auroc", "aupro")
Scores = NDArray[np.float64]


def query_of(line: ProductLine) -> list[ImageRecord]:
    """At most 50 good and 60 defective test images; a line without test/good gives none of the support's."""
    spare = sample_images(line, good=4 * len(SEEDS), defects=0, query=100, seed=0, spare_good=True).query
    good = list(line.test_good) or [record for record in spare if not record.is_defect]
    defects = list(line.defects)
    for records in (good, defects):
        random.Random(0).shuffle(records)
    return good[:50] + defects[:60]


def measure(line: ProductLine, backbone: OpenBackbone) -> tuple[list[float], list[Scores]]:
    """Mean metrics over the draws, and each draw's centred image scores."""
    features, preprocess = DirectFeatures(backbone.extractor), backbone.preprocess()
    records = query_of(line)
    query, truth = build_query(records, features, preprocess), read_truth(records, (256, 256))
    learner, rows, scores = make_learner("memory_bank", backbone.spec), [], []
    for seed in SEEDS:
        good = sample_images(line, good=4, defects=0, query=2, seed=seed, spare_good=False).good
        support = build_support(good, (), features, preprocess, SupportConfig(synthetic=0), seed=seed)
        head = learner.adapt(support, seed=seed)
        output, loo = score_levels(head, query.levels), head.leave_one_out(support)
        row = evaluate_outputs(output, loo, truth, target_false_reject_rate=0.01, pooled=None)
        rows.append([row[key] for key in METRICS])
        scores.append((output.image_score - loo.image_score.mean()).double().numpy())
    return [float(value) for value in np.mean(rows, 0)], scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--sizes", default="256,512")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    started, settings = time.monotonic(), load_settings()
    backbones = [open_backbone("tf_efficientnet_lite0", size, settings) for size in sizes]
    print("| line | " + " | ".join(f"{size} px" for size in sizes) + " | fused, image AUROC |")
    print("|---" * (len(sizes) + 2) + "|")
    table, fused = [], []
    for line in find_lines(arguments.lines):
        truth = np.array([record.is_defect for record in query_of(line)])
        measured = [measure(line, backbone) for backbone in backbones]
        sums = [sum(scores[draw] for _, scores in measured) for draw in range(len(SEEDS))]
        table.append([metrics for metrics, _ in measured])
        fused.append(float(np.mean([image_auroc(scores, truth) for scores in sums])))
        print(f"| {line.name} | {cells(table[-1])} | {100 * fused[-1]:.1f} |", flush=True)
    means = [[float(value) for value in row] for row in np.nanmean(np.array(table), 0)]
    print(f"| **mean** | {cells(means)} | {100 * np.mean(fused):.1f} |")
    print(f"\n{(time.monotonic() - started) / 60:.1f} minutes.")


def cells(rows: list[list[float]]) -> str:
    return " | ".join(" / ".join("-" if np.isnan(value) else f"{100 * value:.1f}" for value in row) for row in rows)


if __name__ == "__main__":
    main()
