"""What a memory bank's rows buy, and what they cost in onnxruntime.

    python -m benchmarks.bank_budget LINES [--rows 256,512,1024,2048,4096,8192] [--draws 2] [--write]

4 good images, all test images as query. The cost is that of backbone and head over the backbone alone, one thread,
all budgets in turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.bank_draws import GOOD, mean_lines, mean_metrics, measure
from benchmarks.pages import made_today, percent, replace_figures
from deploy.engine.runtime import ScoringEngine
from deploy.exporting.torch_to_onnx import export_head
from flows.open_backbone import OpenBackbone, open_backbone
from model_zoo.learners.memory_bank import MemoryBankConfig, MemoryBankLearner
from pipeline.evaluation import read_truth
from pipeline.feature_store import FeatureStore
from pipeline.imaging.images import require_image
from pipeline.process_tuning import tune_process
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import load_settings
from pipeline.support import SupportConfig, build_query, build_support, sample_images

PAGE = Path(__file__).with_suffix(".md")
ROUNDS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", default="256,512,1024,2048,4096,8192")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    tune_process()
    settings, budgets = load_settings(), [int(rows) for rows in arguments.rows.split(",")]
    backbone = open_backbone("tf_efficientnet_lite0", 256, settings)
    features, lines = backbone.cached(settings), find_lines(arguments.folder)
    costs = cost_over_backbone(backbone, features, lines[0], budgets)
    draws = range(arguments.draws)
    found = {rows: mean_lines([accuracy(backbone, features, line, rows, draws) for line in lines]) for rows in budgets}
    page = [
        f"{made_today()}, {len(lines)} lines, {arguments.draws} draws.",
        "",
        "| rows a level, at most | image AUROC / pixel AUROC / AUPRO | a scored image over the bare backbone |",
        "|---|---|---|",
        *(f"| {rows} | {percent(found[rows])} | {costs[rows]:.2f} |" for rows in budgets),
        "",
        "```mermaid",
        "xychart-beta",
        '    title "AUPRO (per cent) by the cost of a scored image over the bare backbone"',
        f"    x-axis [{', '.join(f'{costs[rows]:.2f}' for rows in budgets)}]",
        f"    line [{', '.join(f'{100 * found[rows][2]:.1f}' for rows in budgets)}]",
        "```",
    ]
    print("\n".join(page))
    if arguments.write:
        replace_figures(PAGE, "\n".join(page))


def accuracy(
    backbone: OpenBackbone, features: FeatureStore, line: ProductLine, rows: int, draws: Sequence[int]
) -> list[float]:
    """Means over draws of a line's metrics."""
    side, found = (backbone.spec.height, backbone.spec.width), []
    for seed in draws:
        images = sample_images(line, good=GOOD, defects=0, query=100_000, seed=seed, spare_good=False)
        query, truth = build_query(images.query, features, backbone.preprocess()), read_truth(images.query, side)
        found.append(measure(images.good, query, truth, features, backbone, seed=seed, rows=rows).row)
    return mean_metrics(found)


def cost_over_backbone(
    backbone: OpenBackbone, features: FeatureStore, line: ProductLine, budgets: Sequence[int]
) -> dict[int, float]:
    """Backbone and head over the backbone alone by budget, medians of rounds in which all take turns."""
    images = sample_images(line, good=GOOD, defects=0, query=1, seed=0, spare_good=False)
    support = build_support(images.good, (), features, backbone.preprocess(), SupportConfig(synthetic=0), seed=0)
    pixels = require_image(images.query[0].path, backbone.preprocess()).pixels[None]
    engine = ScoringEngine(backbone.artefact, "cpu", threads=1)
    with tempfile.TemporaryDirectory() as scratch:
        for rows in budgets:
            head = MemoryBankLearner(backbone.spec, MemoryBankConfig(bank_budget=rows)).adapt(support, seed=0)
            path = Path(scratch) / f"{rows}.onnx"
            export_head(head, [level[:2] for level in support.good], path)
            engine.add_head(str(rows), path)
    ratios: dict[int, list[float]] = {rows: [] for rows in budgets}
    for _ in range(ROUNDS):
        bare = _seconds(engine.extractor.run, pixels)
        for rows in budgets:
            ratios[rows].append(_seconds(lambda image, name=str(rows): engine.score(name, image), pixels) / bare)
    return {rows: median(found) for rows, found in ratios.items()}


def _seconds(function: Callable[[NDArray[np.uint8]], object], pixels: NDArray[np.uint8]) -> float:
    began = time.perf_counter()
    function(pixels)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
