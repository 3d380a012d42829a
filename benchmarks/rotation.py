"""Rotated views of the support for parts that lie at any angle: what they gain there, and what they cost elsewhere.

    python -m benchmarks.rotation LINES [--lines NAME,...] [--draws 1] [--write]

Real lines as they were taken, and with every image turned by an angle of its own (`benchmarks/turned_lines.py` says
how). `auto` at 256 px with flips alone and with eleven rotations by multiples of 30 degrees as well, from the same
images; at most 20 good and 20 defective test images a line. `--write` puts the figures into rotation.md.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.orientation import GoodPatches, farther_askew, nearer_turned
from benchmarks.pages import made_today, percent, replace_figures
from benchmarks.turned_lines import FREE, SURFACES, turn_line
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import ANY_ANGLE
from model_zoo.heads.invariant_inputs import level_groups
from model_zoo.learners.auto import AutoConfig, AutoLearner
from pipeline.augmentations import FLIPS, ROTATIONS
from pipeline.episodes import SupportSet
from pipeline.evaluation import evaluate_outputs, read_truth, score_levels
from pipeline.feature_store import FeatureStore
from pipeline.head_calibration import calibrate_head
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import load_settings
from pipeline.support import SupportConfig, build_query, build_support, sample_images

PAGE = Path(__file__).with_suffix(".md")
SUPPORTS = ((4, 0), (4, 4))
QUERY, SIZE = 40, 256
ASKEW = ("rot60", "rot240")
FARTHER, NEARER = 0.15, 0.03
"""The rule that was tried: rotations where parts are no farther askew than that, and that much nearer turned."""
ROTATED = ANY_ANGLE.augmentations
Metrics = tuple[float, float]
"""Image AUROC and AUPRO."""


class Drawn(NamedTuple):
    """One draw of a line: metrics with flips and with rotations as well, for each of SUPPORTS, and the two signs.

    `turned` is nan where `askew` has decided already.
    """

    flips: Sequence[Metrics]
    rotations: Sequence[Metrics]
    askew: float
    turned: float

    @property
    def rotated(self) -> bool:
        """Whether the rule that was tried takes rotations."""
        return self.turned > NEARER

    @property
    def chosen(self) -> Sequence[Metrics]:
        """The metrics of what the rule takes."""
        return self.rotations if self.rotated else self.flips


def measure(line: ProductLine, backbone: OpenBackbone, features: FeatureStore, seed: int) -> Drawn:
    """Adapt to one draw with either augmentation."""
    drawn = sample_images(line, good=4, defects=4, query=QUERY, seed=seed, spare_good=False)
    query, truth = build_query(drawn.query, features, backbone.preprocess()), read_truth(drawn.query, (SIZE, SIZE))

    def support_of(names: tuple[str, ...], defects: int = 0) -> SupportSet:
        config = SupportConfig(augmentations=names)
        return build_support(drawn.good, drawn.defects[:defects], features, backbone.preprocess(), config, seed=seed)

    found: dict[tuple[str, ...], list[Metrics]] = {FLIPS: [], ROTATED: []}
    for names, metrics in found.items():
        for _, defects in SUPPORTS:
            support = support_of(names, defects)
            head = AutoLearner(backbone.spec, AutoConfig()).adapt(support, seed=seed)
            threshold = calibrate_head(head, support, 0.01, None)
            row = evaluate_outputs(score_levels(head, query.levels), truth, threshold)
            metrics.append((row["image_auroc"], row["aupro"]))
    groups, probed = level_groups(backbone.spec), (*FLIPS, *ASKEW)
    patches = GoodPatches(support_of(probed), groups)
    askew = farther_askew(patches, (0, *_views(probed, "rot180")), _views(probed, *ASKEW))
    if askew > FARTHER:
        return Drawn(found[FLIPS], found[ROTATED], askew, math.nan)
    patches = GoodPatches(support_of(ROTATED), groups)
    turned = nearer_turned(patches, (0, *_views(ROTATED, *FLIPS)), (0, *_views(ROTATED, *ROTATIONS)))
    return Drawn(found[FLIPS], found[ROTATED], askew, turned)


def _views(augmentations: Sequence[str], *names: str) -> list[int]:
    """Where these augmentations stand among a good image's views, the first of which is the image as it lies."""
    return [1 + augmentations.index(name) for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", help="only these, comma-separated")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    started, settings = time.monotonic(), load_settings()
    backbone = open_backbone("tf_efficientnet_lite0", SIZE, settings)
    features = backbone.cached(settings)
    wanted = arguments.lines.split(",") if arguments.lines else None
    lines = [line for line in find_lines(arguments.folder) if wanted is None or line.name in wanted]
    turned: dict[str, list[Drawn]] = {}
    taken: dict[str, list[Drawn]] = {}
    for line in lines:
        with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
            kinds = [(taken, line)]
            if line.name.split("/")[-1] in (*FREE, *SURFACES):
                kinds.append((turned, turn_line(line, Path(scratch))))
            for table, kind in kinds:
                draws = range(arguments.draws)
                table[line.name] = [measure(kind, backbone, features, seed) for seed in draws]
                print(_row(line.name, table[line.name]), flush=True)
    minutes = (time.monotonic() - started) / 60
    head = f"{made_today()}, {arguments.draws} draw(s), {minutes:.1f} minutes."
    parts = [_table("turned", turned), _table("as taken", taken)]
    figures = "\n\n".join([head, *("\n".join(part) for part in parts)])
    print(figures)
    if arguments.write:
        replace_figures(PAGE, figures)


def _table(name: str, lines: Mapping[str, Sequence[Drawn]]) -> list[str]:
    names = [f"{good} + {defects}, {views}" for good, defects in SUPPORTS for views in ("flips", "rotations")]
    rows = [f"| {name} | {' | '.join(names)} | farther askew | nearer turned | rule takes rotations |"]
    rows += ["|---" * (len(names) + 4) + "|", *(_row(line, draws) for line, draws in lines.items())]
    means = [percent(np.nanmean([_mean(draws, *cell) for draws in lines.values()], 0).tolist()) for cell in _CELLS]
    chosen = [
        percent(np.nanmean([np.mean([draw.chosen[i] for draw in draws], 0) for draws in lines.values()], 0).tolist())
        for i in range(len(SUPPORTS))
    ]
    return [*rows, f"| **mean** | {' | '.join(means)} | | | by the rule: {', '.join(chosen)} |"]


_CELLS = tuple((index, rotations) for index in range(len(SUPPORTS)) for rotations in (False, True))


def _row(line: str, draws: Sequence[Drawn]) -> str:
    cells = [percent(_mean(draws, *cell)) for cell in _CELLS]
    askew = ", ".join(f"{draw.askew:.2f}" for draw in draws)
    turned = ", ".join("-" if math.isnan(draw.turned) else f"{draw.turned:.2f}" for draw in draws)
    return f"| {line} | {' | '.join(cells)} | {askew} | {turned} | {sum(d.rotated for d in draws)} of {len(draws)} |"


def _mean(draws: Sequence[Drawn], index: int, rotations: bool) -> list[float]:
    found = [(draw.rotations if rotations else draw.flips)[index] for draw in draws]
    return [float(value) for value in np.mean(found, 0)]


if __name__ == "__main__":
    main()
