"""A vision transformer beside Lite0, as one fused backbone from which a line takes what it needs.

    python -m benchmarks.vit LINES [--lines NAME,...] [--draws 3] [--transformer vit_small_patch14_dinov2] [--write]

The transformer's weights lie in the home, `weights/<name>.safetensors` or `.pth`. From 4 good images, without and with
4 defective ones, judged by at most 80 test images a line: `auto` on Lite0, which chooses its input size; `auto` on both
networks, which chooses size and networks; and AnomalyDINO's rule on the same transformer at the size that it has beside
256 px: cosine distance to the nearest token of the good images and their flips, the mean of the highest 1 %. `--write`
puts the figures into vit.md.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.draws import GOOD, Extraction
from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table, table_row
from flows.open_backbone import open_backbone
from flows.views import DEFAULT_SIZE, View, adapt_to_best, candidate_sizes, view_of
from model_zoo.learners.auto import AutoLearner
from model_zoo.learning.auto_head import AutoConfig
from pipeline.episode_draws import sample_images
from pipeline.evaluation import ranking_figures, read_truth, score_levels
from pipeline.features import DEFAULT_BACKBONE, FUSED
from pipeline.input_size import InputSize
from pipeline.learner import AnomalyOutput
from pipeline.metrics import paired_bootstrap
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.support import build_query

DEFECTS = (0, 4)
QUERY = 80
JUDGED_AT = (DEFAULT_SIZE, DEFAULT_SIZE)
METRICS = ("image_auroc", "aupro")
PEER = "AnomalyDINO's rule"


class Found(NamedTuple):
    """Metrics by what scored, and what was chosen."""

    figures: dict[str, list[float]]
    chosen: list[str]


class Eyes:
    """The backbones at each size, opened once, their features cached."""

    def __init__(self, study: Study) -> None:
        self.settings = study.settings
        self.names = (f"{DEFAULT_BACKBONE}{FUSED}{study.asked.transformer}", DEFAULT_BACKBONE)
        self._opened: dict[tuple[str, InputSize], Extraction] = {}

    def at(self, name: str, size: InputSize) -> Extraction:
        """One of them."""
        if (name, size) not in self._opened:
            backbone = open_backbone(name, size, self.settings)
            self._opened[name, size] = Extraction(backbone, backbone.cached(self.settings))
        return self._opened[name, size]


def measure(line: ProductLine, eyes: Eyes, seed: int) -> Found:
    """One draw of a line."""
    images = sample_images(line, good=GOOD, defects=max(DEFECTS), query=QUERY, seed=seed, spare_good=False)
    truth, found = read_truth(images.query, JUDGED_AT), Found({}, [])
    sizes = candidate_sizes((*images.good, *images.defects))

    def views_of(name: str, defects: Sequence[ImageRecord]) -> list[View]:
        seen = (eyes.at(name, size) for size in sizes)
        return [view_of(one.backbone, images.good, defects, features=one.features, seed=seed) for one in seen]

    def judge(name: str, output: AnomalyOutput) -> None:
        found.figures[name] = metrics(ranking_figures(output, truth), METRICS)

    both, alone = eyes.names
    seen = eyes.at(both, InputSize.of(DEFAULT_SIZE))
    tokens = build_query(images.query, seen.features, seen.backbone.preprocess()).levels[-1]
    judge(PEER, nearest_tokens(views_of(both, ())[0], tokens))
    for count in DEFECTS:
        defects = images.defects[:count]
        plain = views_of(alone, defects)
        for name, views in (("auto", plain), ("fused", [*views_of(both, defects), *plain])):
            learner = AutoLearner(views[0].backbone.spec, AutoConfig())
            adapted = adapt_to_best(learner, views, seed=seed)
            taken = eyes.at(adapted.view.backbone.spec.name, adapted.view.backbone.spec.size)
            query = build_query(images.query, taken.features, taken.backbone.preprocess())
            judge(f"{name}, {count} defects", score_levels(adapted.head, query.levels))
        found.chosen.append(f"{'both' if taken.backbone.spec.name == both else 'Lite0'} {taken.backbone.spec.height}")
    return found


def nearest_tokens(view: View, tokens_BChw: Tensor) -> AnomalyOutput:
    """AnomalyDINO's rule on the last group of the finished tokens."""
    group = view.backbone.spec.groups[-1]

    def unit(maps: Tensor) -> Tensor:
        return F.normalize(maps[:, group.start : group.stop], dim=1).flatten(2).transpose(1, 2)

    good, augmented = view.support.good[-1], view.support.augmented[-1]
    bank = torch.cat([unit(good), unit(augmented.flatten(0, 1))]).flatten(0, 1)
    distances = torch.stack([1 - (image @ bank.t()).amax(1) for image in unit(tokens_BChw)])
    highest = distances.topk(max(1, math.ceil(0.01 * distances.shape[1])), dim=1).values.mean(1)
    return AnomalyOutput(highest, distances.unflatten(1, tokens_BChw.shape[-2:]), distances[:, :1].long())


def gain_text(of: str, over: str, by_set: dict[str, list[dict[str, list[float]]]]) -> str:
    """The gain in image AUROC over another column, a mean over data sets, with its interval and the worst of them."""
    gains = [fmean(line[of][0] - line[over][0] for line in lines) for lines in by_set.values()]
    interval = paired_bootstrap(gains, seed=0)
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.mean:+.1f} [{low:+.1f}, {high:+.1f}], worst {100 * min(gains):+.1f}"


def main() -> None:
    """Print a line's row as it is found, then the page."""
    parser = options(__doc__, draws=3)
    parser.add_argument("--transformer", default="vit_small_patch14_dinov2")
    study = Study(__file__, parser)
    eyes, rows = Eyes(study), []
    by_set: dict[str, list[dict[str, list[float]]]] = defaultdict(list)
    names: list[str] = []
    for line in study.lines:
        draws = [measure(line, eyes, seed) for seed in study.draws]
        names = list(draws[0].figures)
        means = {name: mean(drawn.figures[name] for drawn in draws) for name in names}
        by_set[line.data_set].append(means)
        chosen = "; ".join(", ".join(of_count) for of_count in zip(*(drawn.chosen for drawn in draws), strict=True))
        rows.append([line.name, *(percent(means[name]) for name in names), chosen])
        print(table_row(rows[-1]), flush=True)
    over_sets = [mean([mean(line[name] for line in lines) for lines in by_set.values()]) for name in names]
    rows.append(["**mean of the data sets**", *map(percent, over_sets), ""])
    gains = [
        [f"{count} defects", *(gain_text(f"fused, {count} defects", over, by_set) for over in overs)]
        for count in DEFECTS
        for overs in [(f"auto, {count} defects", PEER)]
    ]
    heads = ["line", *names, f"chosen, {' and '.join(map(str, DEFECTS))} defects"]
    study.publish(table(heads, rows), table(["fused, image AUROC", "over auto", f"over {PEER}"], gains))


if __name__ == "__main__":
    main()
