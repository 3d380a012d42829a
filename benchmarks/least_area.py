"""What a least defect area does to false rejects and missed defects, on real lines with masks.

python -m benchmarks.least_area LINES [--lines NAME,...] [--draws 3] [--write]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial

import numpy as np

from benchmarks.draws import Extraction, cached
from benchmarks.study import Study, options
from benchmarks.tables import mean, table
from flows.asking.request_fields import LineSettings
from flows.line_threshold import line_threshold
from flows.views import adapt_to_best, candidate_sizes, view_of
from model_zoo.learner_table import make_learner
from pipeline.calibration import Threshold
from pipeline.episode_draws import sample_images
from pipeline.evaluation import score_levels
from pipeline.imaging.images import read_size
from pipeline.input_size import InputSize
from pipeline.learner import AnomalyOutput
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.regions import largest_region
from pipeline.support import build_query, read_defect_mask

GOOD, DEFECTS, QUERY = 4, 4, 80
RATES = (0.01, 0.1)
AREAS = (0, 64, 256, 1024, 4096)
Cell = tuple[float, int]
"""False-reject rate asked for, and least area in pixels of the images as they are shared: at most 512 a side."""


def main() -> None:
    """Print a line's shares as they are found, then the page."""
    study = Study(__file__, options(__doc__, draws=3))
    study.lines = [line for line in study.lines if line.has_masks]
    by_size = cache(partial(cached, study.settings))
    means: dict[str, dict[Cell, list[float]]] = {}
    for line in study.lines:
        found: dict[Cell, list[list[float]]] = defaultdict(list)
        for seed in study.draws:
            for cell, shares in _of_draw(line, by_size, seed):
                found[cell].append(shares)
        means[line.name] = {cell: mean(of_cell) for cell, of_cell in found.items()}
        told = {cell: "/".join(f"{share:.0%}" for share in shares) for cell, shares in means[line.name].items()}
        print(line.name, told, flush=True)
    study.publish(_table(means))


def _of_draw(
    line: ProductLine, by_size: Callable[[InputSize], Extraction], seed: int
) -> Iterator[tuple[Cell, list[float]]]:
    """Adapt once; then at each threshold the shares of good rejected, defects missed, and of those as large missed."""
    drawn = sample_images(line, good=GOOD, defects=DEFECTS, query=QUERY, seed=seed, spare_good=True)
    sizes = [by_size(size) for size in candidate_sizes((*drawn.good, *drawn.defects))]
    views = [view_of(seen.backbone, drawn.good, drawn.defects, features=seen.features, seed=seed) for seen in sizes]
    adapted = adapt_to_best(make_learner("auto", views[0].backbone.spec, seed=seed), views, seed=seed)
    preprocess = adapted.view.preprocess
    query = build_query(drawn.query, by_size(adapted.view.backbone.spec.size).features, preprocess)
    output, defective, areas = score_levels(adapted.head, query.levels), query.labels.numpy(), _areas(drawn.query)
    for rate in RATES:
        for area in AREAS:
            asked = LineSettings(target_false_reject_rate=rate, least_defect_area=area or None)
            threshold = line_threshold(asked, adapted.head, adapted.view, None).threshold
            rejected = _rejected(output, threshold)
            large = defective & (areas >= area)
            yield (rate, area), [_share(rejected[~defective]), _share(~rejected[defective]), _share(~rejected[large])]


def _rejected(output: AnomalyOutput, threshold: Threshold) -> np.ndarray:
    scores, maps = output.image_score.numpy(), output.anomaly_map.numpy()
    return np.array([s >= threshold.reject and threshold.counts(m) for s, m in zip(scores, maps, strict=True)])


def _areas(records: Sequence[ImageRecord]) -> np.ndarray:
    """Pixels of the largest region of each image's mask; 0 of a good image, infinite where there is no mask."""
    areas = []
    for record in records:
        mask = read_defect_mask(record) if record.is_defect else None
        height, width = read_size(record.path)
        largest = 0.0 if mask is None else largest_region(mask.astype(np.float32), 0.5) * height * width
        areas.append(np.inf if record.is_defect and mask is None else largest)
    return np.array(areas)


def _share(found: np.ndarray) -> float:
    return float(found.mean()) if len(found) else float("nan")


def _table(means: Mapping[str, Mapping[Cell, Sequence[float]]]) -> list[str]:
    """Means over the lines, and the line that loses most by the area."""
    rows = []
    for rate in RATES:
        for area in AREAS:
            shares = mean(of_line[rate, area] for of_line in means.values())
            lost = {line: of_line[rate, area][1] - of_line[rate, 0][1] for line, of_line in means.items()}
            worst = max(lost, key=lambda line: lost[line])
            most = f"{worst} {100 * lost[worst]:+.0f}" if area else "-"
            rows.append([f"{rate:.0%}", f"{area}" if area else "none", *(f"{100 * s:.1f}" for s in shares), most])
    columns = (
        "false rejects asked for",
        "least area, pixels",
        "good rejected, %",
        "defects missed, %",
        "of those whose mask is as large, %",
        "misses most, points",
    )
    return table(columns, rows)


if __name__ == "__main__":
    main()
