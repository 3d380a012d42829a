"""How well kinds of defects are told apart from 1, 2 and 4 images of each, and kinds that nobody showed from both.

    python -m benchmarks.kinds LINES [--lines NAME,...] [--draws 3] [--good 4] [--write]

Lines whose defects are of one kind are left out. The images that were not learned from are asked, each as `score` asks
it: by its map. Shots of one part are never on both sides. For the kinds that nobody showed, each kind in turn is left
out of the prototypes, and the maps are of a head that was shown no defect at all.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.draws import Extraction, cached
from benchmarks.study import Study, options
from benchmarks.tables import mean, percent, table
from flows.adapt.line_kinds import kinds_of_support
from model_zoo.learner_table import make_learner
from pipeline.calibration import Threshold
from pipeline.episodes import SupportSet
from pipeline.evaluation import score_levels
from pipeline.head_calibration import calibrate_head
from pipeline.kinds import NONE_OF_THESE, KindsOfDefects, Values
from pipeline.learner import AnomalyHead
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.regions import MarkedMap
from pipeline.support import SupportConfig, build_query, build_support

IMAGES, RATE = (1, 2, 4), 0.01
FIGURES = (
    "right",
    "right, of the flagged",
    "by score and shape",
    "by them, of the flagged",
    "chance",
    "called none",
    "AUROC of none",
    "new kinds called none",
)
_SAME_PART = 500  # frames apart that shots of one magnetic tile are, at most
_BINS = 5


class Asked(NamedTuple):
    """What was said of one image: whether its kind, and how probable that was."""

    right: bool
    probability: float


class Seen(NamedTuple):
    """Images as a line sees them: features a level (N, C, h, w), maps (N, H, W), scores (N,), kinds."""

    levels: list[Values]
    maps: Values
    scores: Values
    kinds: NDArray[np.str_]

    def distances(self, kinds: KindsOfDefects, pixel_threshold: float) -> Values:
        """Of each to the nearest kind (N,)."""
        return np.array([kinds.distances(*self.image(i), pixel_threshold).min() for i in range(len(self.maps))])

    def image(self, number: int) -> tuple[list[Values], Values]:
        """Features a level (C, h, w) and map (H, W) of one."""
        return [level[number] for level in self.levels], self.maps[number]


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    parser = options(__doc__, draws=3)
    parser.add_argument("--good", type=int, default=4, help="good images of a draw")
    study = Study(__file__, parser)
    study.lines = [line for line in study.lines if len({record.kind for record in line.defects}) > 1]
    through = cached(study.settings)
    figures: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
    asked: dict[int, list[Asked]] = defaultdict(list)
    for line in study.lines:
        for seed in study.draws:
            for images in IMAGES:
                found, said = _draw(line, through, seed, images, study.asked.good)
                figures[line.name, images].append(found)
                asked[images] += said
                print(line.name, seed, images, percent(found), flush=True)
    study.publish(_figures_table(figures), _calibration_table(asked))


def _draw(line: ProductLine, through: Extraction, seed: int, images: int, good: int) -> tuple[list[float], list[Asked]]:
    rng = np.random.default_rng(seed)
    chosen = [line.train_good[i] for i in rng.permutation(len(line.train_good))[:good]]
    shuffled = [line.defects[i] for i in rng.permutation(len(line.defects))]
    known = [
        record
        for kind in sorted({record.kind for record in shuffled})
        for record in [each for each in shuffled if each.kind == kind][:images]
    ]
    others = [record for record in shuffled if not any(_same_part(record, other) for other in known)]
    config, preprocess = SupportConfig(synthetic=0), through.backbone.preprocess()
    support = build_support(chosen, known, through.features, preprocess, config, seed=seed)
    learner = make_learner("auto", through.backbone.spec, seed=seed)
    head = learner.choose(support, seed=seed).head
    threshold = calibrate_head(head, support, RATE, None).threshold
    learned = kinds_of_support(support, known, through.backbone.spec, head, threshold.pixel)
    assert learned is not None
    query = _seen(others, through, head)
    said = [learned.kinds.kind_of(*query.image(i), threshold.pixel) for i in range(len(others))]
    right = np.array([each.name == kind for each, kind in zip(said, query.kinds, strict=True)])
    none = np.array([each.name == NONE_OF_THESE for each in said])
    flagged = query.scores >= threshold.review
    shapes = _by_shape(_seen(known, through, head), query, threshold)
    found = [
        _per_kind(right, query.kinds),
        _per_kind(right[flagged], query.kinds[flagged]),
        _per_kind(shapes == query.kinds, query.kinds),
        _per_kind((shapes == query.kinds)[flagged], query.kinds[flagged]),
        1 / len({record.kind for record in known}),
        float(none.mean()),
        *_left_out(known, support, others, through, seed),
    ]
    return found, [
        Asked(bool(hit), each.probability)
        for each, hit in zip(said, right, strict=True)
        if each.probability is not None
    ]


def _seen(records: Sequence[ImageRecord], through: Extraction, head: AnomalyHead) -> Seen:
    levels = build_query(records, through.features, through.backbone.preprocess()).levels
    output = score_levels(head, levels)
    kinds = np.array([record.kind for record in records])
    return Seen([level.numpy() for level in levels], output.anomaly_map.numpy(), output.image_score.numpy(), kinds)


def _same_part(one: ImageRecord, other: ImageRecord) -> bool:
    """Whether two images are one, or magnetic tiles whose frames were taken beside each other."""
    frames = [re.search(r"_num_(\d+)$", record.path.stem) for record in (one, other)]
    if frames[0] is None or frames[1] is None:
        return one.path == other.path
    return abs(int(frames[0][1]) - int(frames[1][1])) < _SAME_PART


def _per_kind(right: NDArray[np.bool_], kinds: NDArray[np.str_]) -> float:
    """The mean over kinds of the share that is right, so that each kind counts the same."""
    return float(np.mean([right[kinds == kind].mean() for kind in np.unique(kinds)])) if len(kinds) else math.nan


def _by_shape(known: Seen, query: Seen, threshold: Threshold) -> NDArray[np.str_]:
    """The kind of the nearest mean by score, area, number, length and fill of the marked regions alone."""
    of_known, of_query = (_shapes(seen, threshold) for seen in (known, query))
    spread = of_known.std(0).clip(1e-3)
    kinds = np.unique(known.kinds)
    means = np.stack([of_known[known.kinds == kind].mean(0) for kind in kinds])
    return kinds[np.linalg.norm((of_query[:, None] - means) / spread, axis=2).argmin(1)]


def _shapes(seen: Seen, threshold: Threshold) -> NDArray[np.float64]:
    rows = []
    for each, score in zip(seen.maps, seen.scores, strict=True):
        regions = MarkedMap(each, min(threshold.pixel, float(np.quantile(each, 0.99)))).regions((256, 256))
        _, _, width, height = regions[0].box
        long, short = max(width, height), max(min(width, height), 1.0)
        area = regions[0].area
        rows.append([score, math.log(area), math.log(len(regions)), math.log(long / short), area / (width * height)])
    return np.array(rows)


def _left_out(
    known: Sequence[ImageRecord],
    support: SupportSet,
    others: Sequence[ImageRecord],
    through: Extraction,
    seed: int,
) -> list[float]:
    """Of each kind in turn that no prototype shows: AUROC of the distance against the others, and share called none."""
    good = support.with_defects(())
    head = make_learner("auto", through.backbone.spec, seed=seed).choose(good, seed=seed).head
    pixel_threshold = calibrate_head(head, good, RATE, None).threshold.pixel
    query = _seen(others, through, head)
    aurocs, called = list[float](), list[float]()
    for kind in np.unique(query.kinds):
        kept = [index for index, record in enumerate(known) if record.kind != kind]
        few = [known[index] for index in kept]
        spec = through.backbone.spec
        learned = kinds_of_support(support.with_defects(kept), few, spec, head, pixel_threshold)
        assert learned is not None
        distances = query.distances(learned.kinds, pixel_threshold)
        aurocs.append(image_auroc(distances, query.kinds == kind))
        called.append(float((distances[query.kinds == kind] > learned.kinds.none_from).mean()))
    return mean(list(pair) for pair in zip(aurocs, called, strict=True))


def _figures_table(figures: Mapping[tuple[str, int], Sequence[Sequence[float]]]) -> list[str]:
    rows = [[line, str(images), *(percent([f]) for f in mean(found))] for (line, images), found in figures.items()]
    for images in IMAGES:
        over_lines = mean(mean(found) for (_, of), found in figures.items() if of == images)
        rows.append(["mean", str(images), *(percent([figure]) for figure in over_lines)])
    return table(("line", "images a kind", *FIGURES), rows)


def _calibration_table(asked: Mapping[int, Sequence[Asked]]) -> list[str]:
    """Said and true probability by fifths of what was said, and their mean difference (ECE)."""
    rows = []
    for images, said in asked.items():
        told = np.array([each.probability for each in said])
        right = np.array([each.right for each in said])
        fifths = np.minimum((told * _BINS).astype(int), _BINS - 1)
        cells, error = list[str](), 0.0
        for fifth in range(_BINS):
            inside = fifths == fifth
            if inside.any():
                cells.append(f"{percent([told[inside].mean(), right[inside].mean()])} ({inside.sum()})")
                error += inside.mean() * abs(told[inside].mean() - right[inside].mean())
            else:
                cells.append("-")
        rows.append([str(images), percent([error]), *cells])
    edges = [f"{100 * i // _BINS} to {100 * (i + 1) // _BINS} %" for i in range(_BINS)]
    return table(("images a kind", "ECE", *edges), rows)


if __name__ == "__main__":
    main()
