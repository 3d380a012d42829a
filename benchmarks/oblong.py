"""What an input with the proportions of oblong images is worth, beside the square that squeezes them.

python -m benchmarks.oblong LINES [--lines ...] [--draws 3] [--side 256] [--write]

Of the lines at hand one has oblong images. Of the others the upper half of every image is looked at, twice as wide as
high: a line of its own, whose defective images are those with a defect in it. Both inputs have about as many pixels.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.draws import Extraction, uncached
from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table
from benchmarks.turned_lines import write_image
from flows.views import DEFAULT_SIZE, view_of
from model_zoo.learner_table import make_learner
from pipeline.episode_draws import sample_images
from pipeline.evaluation import ranking_figures, read_truth, score_levels
from pipeline.imaging.images import read_native, read_size
from pipeline.input_size import InputSize, oblong_ratio
from pipeline.product_lines.lines import ProductLine, load_named_line
from pipeline.support import build_query, read_defect_mask

LINES = (
    "aws_l4v/cookie,mvtec/pill,mpdd/metal_plate,otx_hazelnut/hazelnut,kolektorsdd/commutator,"
    "deeppcb/board20085,deeppcb/board92000,glassfiber_sdu/glassfiber"
)
GOOD, DEFECTS, QUERY = 4, 4, 40
_TRAIN, _TEST = 20, 40
_LEAST = 24  # pixels of a defect that is seen in the half
Cell = tuple[str, int]
"""Kind of input, and number of defects."""


class Measured(NamedTuple):
    """Metrics, milliseconds of an image's features and scores, and the evidence by which a support chooses a size."""

    metrics: list[float]
    milliseconds: float
    evidence: float


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    parser = options(__doc__, only=LINES, draws=3)
    parser.add_argument("--side", type=int, default=DEFAULT_SIZE, help="of the square input")
    study = Study(__file__, parser)
    opened = cache(partial(uncached, study.settings))
    found: dict[str, dict[Cell, Measured]] = {}
    for line in study.lines:
        with tempfile.TemporaryDirectory(prefix="linewise-oblong-") as scratch:
            seen = line if oblong_ratio(_sizes(line)) else upper_half(line, Path(scratch))
            draws = [dict(_measured(seen, study.asked.side, opened, seed)) for seed in study.draws]
        found[line.name] = {cell: _mean([draw[cell] for draw in draws]) for cell in draws[0]}
        print(line.name, {cell: percent(of.metrics) for cell, of in found[line.name].items()}, flush=True)
    study.publish(_table(found), evidence_table(found))


def upper_half(line: ProductLine, folder: Path) -> ProductLine:
    """The line with the upper half of every image; defects that do not reach into it are left out."""
    target = folder / line.name
    for records, place in ((line.train_good[:_TRAIN], "train/good"), (line.test_good[:_TEST], "test/good")):
        for record in records:
            write_image(target / place / f"{record.path.stem}.png", _upper(read_native(record.path)))
    for record in line.defects:
        mask = read_defect_mask(record)
        if mask is not None and (seen := _upper(mask)).sum() >= _LEAST:
            write_image(target / "test" / record.kind / f"{record.path.stem}.png", _upper(read_native(record.path)))
            marked = seen.astype(np.uint8) * 255
            write_image(target / "ground_truth" / record.kind / f"{record.path.stem}_mask.png", marked)
    return load_named_line(target, name=line.name, data_set=line.data_set)


def _upper(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels[: len(pixels) // 2]


def _sizes(line: ProductLine) -> list[tuple[int, int]]:
    return [read_size(record.path) for record in line.train_good]


def _measured(
    line: ProductLine, side: int, opened: Callable[[InputSize], Extraction], seed: int
) -> Iterator[tuple[Cell, Measured]]:
    height, width = size = _sizes(line)[0]
    inputs = {"square": InputSize.of(side), "oblong": InputSize.following(height / width, side)}
    drawn = sample_images(line, good=GOOD, defects=DEFECTS, query=QUERY, seed=seed, spare_good=False)
    truth = read_truth(drawn.query, size)
    for kind, of_input in inputs.items():
        seen = opened(of_input)
        start = time.perf_counter()
        levels = build_query(drawn.query, seen.features, seen.backbone.preprocess()).levels
        extracting = time.perf_counter() - start
        for count in (0, DEFECTS):
            view = view_of(seen.backbone, drawn.good, drawn.defects[:count], seed=seed)
            chosen = make_learner("auto", seen.backbone.spec, seed=seed).choose(view.support, seed=seed)
            start = time.perf_counter()
            output = score_levels(chosen.head, levels)
            taken = extracting + time.perf_counter() - start
            ranked = metrics(ranking_figures(output, truth))
            yield (kind, count), Measured(ranked, 1e3 * taken / len(drawn.query), chosen.evidence)


def _mean(draws: list[Measured]) -> Measured:
    milliseconds, evidence = (float(np.mean([draw[figure] for draw in draws])) for figure in (1, 2))
    return Measured(mean(draw.metrics for draw in draws), milliseconds, evidence)


def evidence_table(found: Mapping[str, Mapping[Cell, Measured]]) -> list[str]:
    """Whether the evidence tells which input ranks better: of both, and what the oblong one gains."""
    rows = []
    for line, of in found.items():
        row = [line]
        for count in (0, DEFECTS):
            square, oblong = of["square", count], of["oblong", count]
            gain = 100 * (oblong.metrics[0] - square.metrics[0])
            row += [f"{square.evidence:.2f}, {oblong.evidence:.2f}", f"{gain:+.1f}"]
        rows.append(row)
    told = [
        f"{what}, {GOOD} + {count}" for count in (0, DEFECTS) for what in ("evidence: square, oblong", "oblong gains")
    ]
    return table(["line, image AUROC", *told], rows)


def _table(found: Mapping[str, Mapping[Cell, Measured]]) -> list[str]:
    cells = list(next(iter(found.values())))
    rows = [[line, *(percent(of_line[cell].metrics) for cell in cells)] for line, of_line in found.items()]
    by_cell = [[of_line[cell] for of_line in found.values()] for cell in cells]
    rows.append(["**mean**", *(percent(mean(of.metrics for of in lines)) for lines in by_cell)])
    rows.append(
        ["an image decoded and scored, ms", *(f"{np.mean([of.milliseconds for of in lines]):.3g}" for lines in by_cell)]
    )
    return table(["line", *(f"{kind}, {GOOD} + {count}" for kind, count in cells)], rows)


if __name__ == "__main__":
    main()
