"""What a memory bank's rows buy, and what they cost in onnxruntime.

    python -m benchmarks.bank_budget LINES [--rows 256,512,1024,2048,4096,8192] [--draws 2] [--write]

4 good images, all test images as query. The cost is that of backbone and head over the backbone alone, one thread,
all budgets in turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.draws import GOOD, Extraction, bank_support, cached, draw, scored_bank
from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table
from benchmarks.turns import in_turns, median_ratio
from deploy.engine.runtime import ScoringEngine
from deploy.exporting.torch_to_onnx import export_head
from model_zoo.learners.memory_bank import MemoryBankConfig, MemoryBankLearner
from pipeline.episode_draws import sample_images
from pipeline.imaging.images import require_image
from pipeline.product_lines.lines import ProductLine

ROUNDS = 40


def main() -> None:
    """Time the budgets on the first line, then measure them on all."""
    parser = options(__doc__, draws=2)
    parser.add_argument("--rows", default="256,512,1024,2048,4096,8192")
    study = Study(__file__, parser)
    budgets, seen = [int(rows) for rows in study.asked.rows.split(",")], cached(study.settings)
    costs = cost_over_backbone(study.lines[0], seen, budgets)
    found: dict[int, list[list[float]]] = {rows: [] for rows in budgets}
    for line in study.lines:
        draws = [draw(line, seen, seed) for seed in study.draws]
        for rows in budgets:
            found[rows].append(mean(metrics(scored_bank(drawn, seen, rows=rows).figures) for drawn in draws))
    means = {rows: mean(of_lines) for rows, of_lines in found.items()}
    columns = ("rows a level, at most", "image AUROC / pixel AUROC / AUPRO", "a scored image over the bare backbone")
    study.publish(
        table(columns, [[f"{rows}", percent(means[rows]), f"{costs[rows]:.2f}"] for rows in budgets]),
        [
            "```mermaid",
            "xychart-beta",
            '    title "AUPRO (per cent) by the cost of a scored image over the bare backbone"',
            f"    x-axis [{', '.join(f'{costs[rows]:.2f}' for rows in budgets)}]",
            f"    line [{', '.join(f'{100 * means[rows][2]:.1f}' for rows in budgets)}]",
            "```",
        ],
    )


def cost_over_backbone(line: ProductLine, seen: Extraction, budgets: Sequence[int]) -> dict[int, float]:
    """Backbone and head over the backbone alone by budget, medians of rounds in which all take turns."""
    backbone = seen.backbone
    images = sample_images(line, good=GOOD, defects=0, query=1, seed=0, spare_good=False)
    support = bank_support(images.good, seen, seed=0)
    pixels = require_image(images.query[0].path, backbone.preprocess()).pixels[None]
    engine = ScoringEngine(backbone.artefact, "cpu", threads=1)
    with tempfile.TemporaryDirectory() as scratch:
        for rows in budgets:
            head = MemoryBankLearner(backbone.spec, MemoryBankConfig(bank_budget=rows)).adapt(support, seed=0)
            path = Path(scratch) / f"{rows}.onnx"
            export_head(head, [level[:2] for level in support.good], path)
            engine.add_head(str(rows), path)

    def score(rows: int, _round: int) -> None:
        engine.score(str(rows), pixels)

    sides = {0: lambda _: engine.extractor.run(pixels)} | {rows: partial(score, rows) for rows in budgets}
    seconds = {rows: [taken.wall for taken in found] for rows, found in in_turns(sides, ROUNDS).items()}
    return {rows: median_ratio(seconds[rows], seconds[0]) for rows in budgets}


if __name__ == "__main__":
    main()
