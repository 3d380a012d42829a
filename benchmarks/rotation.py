"""Rotated views of the support for parts that lie at any angle: what they gain there, and what they cost elsewhere.

    python -m benchmarks.rotation LINES [--lines NAME,...] [--draws 1] [--write]

Real lines as they were taken, and with every image turned by an angle of its own (`benchmarks/turned_lines.py` says
how). `auto` at 256 px with flips alone and with eleven rotations by multiples of 30 degrees as well, from the same
images; at most 20 good and 20 defective test images a line. `--write` puts the figures into rotation.md.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.draws import Extraction, cached, draw
from benchmarks.orientation import GoodPatches, farther_askew, nearer_turned
from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table, table_row
from benchmarks.turned_lines import FREE, SURFACES, turn_line
from flows.views import ANY_ANGLE
from model_zoo.heads.invariant_inputs import level_groups
from model_zoo.learners.auto import AutoLearner
from model_zoo.learning.auto_head import AutoConfig
from pipeline.augmentations import FLIPS, ROTATIONS
from pipeline.episodes import SupportSet
from pipeline.evaluation import ranking_figures, score_levels
from pipeline.product_lines.lines import ProductLine
from pipeline.support import SupportConfig, build_support

SUPPORTS = ((4, 0), (4, 4))
QUERY = 40
ASKEW = ("rot60", "rot240")
FARTHER, NEARER = 0.15, 0.03
"""The rule that was tried: rotations where parts are no farther askew than that, and that much nearer turned."""
ROTATED = ANY_ANGLE.augmentations
METRICS = ("image_auroc", "aupro")
Metrics = list[float]
"""Of METRICS."""


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


def measure(line: ProductLine, seen: Extraction, seed: int) -> Drawn:
    """Adapt to one draw with either augmentation."""
    drawn, spec = draw(line, seen, seed, defects=4, query=QUERY), seen.backbone.spec

    def support_of(names: tuple[str, ...], defects: int = 0) -> SupportSet:
        config, preprocess = SupportConfig(augmentations=names), seen.backbone.preprocess()
        return build_support(drawn.good, drawn.defects[:defects], seen.features, preprocess, config, seed=seed)

    found: dict[tuple[str, ...], list[Metrics]] = {FLIPS: [], ROTATED: []}
    for names, of_names in found.items():
        for _, defects in SUPPORTS:
            head = AutoLearner(spec, AutoConfig()).adapt(support_of(names, defects), seed=seed)
            figures = ranking_figures(score_levels(head, drawn.query.levels), drawn.truth)
            of_names.append(metrics(figures, METRICS))
    groups, probed = level_groups(spec), (*FLIPS, *ASKEW)
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
    """Print a line's row as it is found, turned and as taken, then the page."""
    study = Study(__file__, options(__doc__, draws=1))
    seen = cached(study.settings)
    turned: dict[str, list[Drawn]] = {}
    taken: dict[str, list[Drawn]] = {}
    for line in study.lines:
        with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
            kinds = [(taken, line)]
            if line.name.split("/")[-1] in (*FREE, *SURFACES):
                kinds.append((turned, turn_line(line, Path(scratch))))
            for found, kind in kinds:
                found[line.name] = [measure(kind, seen, seed) for seed in study.draws]
                print(table_row(_row(line.name, found[line.name])), flush=True)
    study.publish(_table("turned", turned), _table("as taken", taken))


def _table(name: str, lines: Mapping[str, Sequence[Drawn]]) -> list[str]:
    names = [f"{good} + {defects}, {views}" for good, defects in SUPPORTS for views in ("flips", "rotations")]
    means = [percent(mean(_mean(draws, *cell) for draws in lines.values())) for cell in _CELLS]
    chosen = [
        percent(mean(mean(draw.chosen[i] for draw in draws) for draws in lines.values())) for i in range(len(SUPPORTS))
    ]
    rows = [_row(line, draws) for line, draws in lines.items()]
    last = ["**mean**", *means, "", "", f"by the rule: {', '.join(chosen)}"]
    return table([name, *names, "farther askew", "nearer turned", "rule takes rotations"], [*rows, last])


_CELLS = tuple((index, rotations) for index in range(len(SUPPORTS)) for rotations in (False, True))


def _row(line: str, draws: Sequence[Drawn]) -> list[str]:
    cells = [percent(_mean(draws, *cell)) for cell in _CELLS]
    askew = ", ".join(f"{draw.askew:.2f}" for draw in draws)
    turned = ", ".join("-" if math.isnan(draw.turned) else f"{draw.turned:.2f}" for draw in draws)
    return [line, *cells, askew, turned, f"{sum(draw.rotated for draw in draws)} of {len(draws)}"]


def _mean(draws: Sequence[Drawn], index: int, rotations: bool) -> list[float]:
    return mean((draw.rotations if rotations else draw.flips)[index] for draw in draws)


if __name__ == "__main__":
    main()
