"""Thresholds without a meta-model, as `linewise adapt` sets them: what they reject and what they miss on real lines.

python -m benchmarks.thresholds LINES [--lines NAME,...] [--draws 3] [--write]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from benchmarks.draws import Extraction, cached, draw
from benchmarks.study import Study, options
from benchmarks.tables import mean, table
from flows.views import view_of
from model_zoo.learner_table import make_learner
from pipeline.evaluation import score_levels
from pipeline.head_calibration import calibrate_head
from pipeline.product_lines.lines import ProductLine

LEARNERS = ("memory_bank", "auto")
SUPPORTS = ((1, 0), (1, 4), (2, 0), (2, 4), (4, 0), (4, 4))
RATE = 0.01
QUERY = 80
Cell = tuple[str, int, int]
"""Learner, good and defective images."""


def main() -> None:
    """Print a line's shares as they are found, then the page."""
    study = Study(__file__, options(__doc__, draws=3))
    seen = cached(study.settings)
    means: dict[str, dict[Cell, list[float]]] = {}
    for line in study.lines:
        shares: dict[Cell, list[list[float]]] = defaultdict(list)
        for seed in study.draws:
            for good, defects in SUPPORTS:
                for name, share in rejected_and_missed(line, seen, good, defects, seed).items():
                    shares[name, good, defects].append(share)
        means[line.name] = {cell: mean(found) for cell, found in shares.items()}
        told = {cell: f"{rejected:.0%}/{missed:.0%}" for cell, (rejected, missed) in means[line.name].items()}
        print(line.name, told, flush=True)
    study.publish(means_table(means))


def rejected_and_missed(
    line: ProductLine, seen: Extraction, good: int, defects: int, seed: int
) -> dict[str, list[float]]:
    """By learner the shares of good query images at or above the threshold, and of defective ones below it."""
    drawn = draw(line, seen, seed, good=good, defects=defects, query=QUERY, spare_good=True)
    view = view_of(seen.backbone, drawn.good, drawn.defects, features=seen.features, seed=seed)
    shares: dict[str, list[float]] = {}
    for name in LEARNERS:
        head = make_learner(name, seen.backbone.spec, seed=seed).adapt(view.support, seed=seed)
        limit = calibrate_head(head, view.support, RATE, None).threshold.reject
        rejected, defective = score_levels(head, drawn.query.levels).image_score.numpy() >= limit, drawn.truth.labels
        shares[name] = [float(rejected[~defective].mean()), float((~rejected[defective]).mean())]
    return shares


def means_table(means: Mapping[str, Mapping[Cell, list[float]]]) -> list[str]:
    """Means over lines, and the line whose good parts are rejected most."""
    rows = []
    for good, defects in SUPPORTS:
        for name in LEARNERS:
            cell = name, good, defects
            rejected, missed = mean(found[cell] for found in means.values())
            worst = max(means, key=lambda line: means[line][cell][0])
            most = f"{worst}, {100 * means[worst][cell][0]:.0f} %"
            rows.append([f"{good}", f"{defects}", name, f"{100 * rejected:.1f}", f"{100 * missed:.0f}", most])
    columns = ("good", "defective", "learner", "good rejected, %", "defects missed, %", "most good rejected")
    return table(columns, rows)


if __name__ == "__main__":
    main()
