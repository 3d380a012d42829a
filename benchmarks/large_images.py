"""What larger inputs and tiles are worth for images above 512 px: trays of four parts, a defect in at most one of them.

python -m benchmarks.large_images LINES [--lines mvtec/pill,...] [--seen 512,1024,2x2:288] [--draws 3] [--write]

No line at hand has images above 512 px. A tray is four images of a line side by side, 1024 px square: an image as large
as a camera's, with defects as small in it as such images have them. Test parts are in no support.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table
from benchmarks.trays import PART, TrayCounts, write_trays
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import SUPPORT, view_of
from model_zoo.learner_table import make_learner
from pipeline.episodes import TensorLevels
from pipeline.evaluation import ranking_figures, read_truth, score_levels
from pipeline.features import DEFAULT_BACKBONE
from pipeline.product_lines.lines import ProductLine
from pipeline.settings import Settings
from pipeline.support import DirectFeatures, build_unlabelled
from pipeline.tile_grid import TileGrid
from pipeline.tiled_output import over_images

LINES = "mvtec/pill,mpdd/metal_plate,aws_l4v/cookie"
SEEN = "512,1024,2x2:288,2x2:512,5x5:256"
"""Sides of inputs; behind rows and columns of tiles, those of a tile."""
GOOD, DEFECTS, QUERY = 4, 4, 12
COUNTS = TrayCounts(GOOD, DEFECTS, QUERY)
Cell = tuple[str, int]
"""As what an image is seen, and number of defects."""


class Seen(NamedTuple):
    """An input, and the rows and columns of tiles that an image is cut into; None: it is seen whole."""

    backbone: OpenBackbone
    tiles: tuple[int, int] | None

    @property
    def name(self) -> str:
        """What the table calls it."""
        side = self.backbone.spec.height
        if self.tiles is None:
            return f"{side} px"
        rows, columns = self.tiles
        return f"{rows} x {columns} of {side} px ({TileGrid.of(self.tiles, side).canvas.height} px)"

    @classmethod
    def asked(cls, text: str, settings: Settings) -> Self:
        """As in `SEEN`."""
        shape, colon, side = text.rpartition(":")
        rows, _, columns = shape.partition("x")
        backbone = open_backbone(DEFAULT_BACKBONE, int(side), settings)
        return cls(backbone, (int(rows), int(columns)) if colon else None)


class Measured(NamedTuple):
    """Metrics, seconds of adaptation, and milliseconds of an image read and scored."""

    metrics: list[float]
    seconds: float
    milliseconds: float


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    parser = options(__doc__, only=LINES, draws=1)
    parser.add_argument("--seen", default=SEEN)
    study = Study(__file__, parser)
    each = [Seen.asked(text, study.settings) for text in study.asked.seen.split(",")]
    found: dict[str, dict[Cell, Measured]] = {}
    for line in study.lines:
        draws: list[dict[Cell, Measured]] = []
        for seed in study.draws:
            with tempfile.TemporaryDirectory(prefix="linewise-trays-") as scratch:
                draws.append(dict(measured(write_trays(line, Path(scratch), COUNTS, seed), each)))
            print(line.name, seed, {cell: percent(of.metrics) for cell, of in draws[-1].items()}, flush=True)
        found[line.name] = {cell: _mean(of[cell] for of in draws) for cell in draws[0]}
    study.publish(_table(found))


def measured(trays: ProductLine, each: Sequence[Seen]) -> Iterator[tuple[Cell, Measured]]:
    """By what an image is seen as and number of defects."""
    query = [*trays.test_good, *trays.defects[DEFECTS:]]
    truth = read_truth(query, (PART, PART))
    for seen in each:
        levels: TensorLevels = ()
        decoding = 0.0
        for count in (0, DEFECTS):
            start = time.perf_counter()
            config = SUPPORT if seen.tiles is None else replace(SUPPORT, synthetic=0)  # as `adapt` has them
            defects = trays.defects[:count]
            view = view_of(seen.backbone, trays.train_good, defects, config=config, tiles=seen.tiles, seed=0)
            head = make_learner("auto", seen.backbone.spec, seed=0).adapt(view.support, seed=0)
            adapted = time.perf_counter() - start
            start = time.perf_counter()
            if not levels:
                levels = build_unlabelled(query, DirectFeatures(view.extractor), view.preprocess, ()).levels
                decoding = time.perf_counter() - start
                start = time.perf_counter()
            output = over_images(score_levels(head, levels), view.tiles)
            milliseconds = 1e3 * (decoding + time.perf_counter() - start) / len(query)
            yield (seen.name, count), Measured(metrics(ranking_figures(output, truth)), adapted, milliseconds)


def _mean(draws: Iterable[Measured]) -> Measured:
    each = list(draws)
    seconds, milliseconds = mean((of.seconds, of.milliseconds) for of in each)
    return Measured(mean(of.metrics for of in each), seconds, milliseconds)


def _table(found: Mapping[str, Mapping[Cell, Measured]]) -> list[str]:
    cells = list(next(iter(found.values())))
    rows = [[line, *(percent(of_line[cell].metrics) for cell in cells)] for line, of_line in found.items()]
    by_cell = [[of_line[cell] for of_line in found.values()] for cell in cells]
    rows.append(["**mean**", *(percent(mean(of.metrics for of in lines)) for lines in by_cell)])
    costs = [mean((of.seconds, of.milliseconds) for of in lines) for lines in by_cell]
    for what, column in zip(
        ("adaptation, s", "an image decoded and scored, ms"), zip(*costs, strict=True), strict=True
    ):
        rows.append([what, *(f"{cost:.3g}" for cost in column)])
    return table(["trays of", *(f"{seen}, {GOOD} + {count}" for seen, count in cells)], rows)


if __name__ == "__main__":
    main()
