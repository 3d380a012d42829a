"""How far good parts stray: the constants of the threshold, chosen without the data set that they are measured on.

    python -m benchmarks.straying [--write]

Adapts nothing: the scores are those that `benchmarks.promises` kept in `benchmarks/out/promises.jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks.kept_scores import Cell, KeptScores, Scores
from benchmarks.study import Study, options
from benchmarks.tables import percent, table
from pipeline.score_spread import straying

FACTORS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
PROMISED = 0.01


class Constants(NamedTuple):
    """Those of `pipeline.score_spread.straying`: without defects, and what many of them add."""

    most: float
    with_defects: float


class Outcome(NamedTuple):
    """Of a data set with some number of defects: shares of good parts rejected and of defects missed, 0..1."""

    rejected: float
    missed: float


SHIPPED = Constants(0.8, 0.6)
_FEW = 4


def main() -> None:
    """Choose and measure, then print the page."""
    study = Study(__file__, options(__doc__, lines=False))
    kept = KeptScores(study.page.parent / "out" / "promises.jsonl")
    cells = [(cell, kept[cell]) for cell in kept if len(kept[cell].alone) > _FEW]
    shipped = [straying(10**9, defects) - 1 for defects in (0, 10**9)]
    assert np.allclose(shipped, [SHIPPED.most, sum(SHIPPED)], rtol=1e-6), "the shipped constants are others"
    outcomes = {Constants(*both): _outcomes(cells, Constants(*both)) for both in product(FACTORS, FACTORS)}
    study.publish(f"{len(cells)} adaptations with more than {_FEW} good images.", _table(outcomes))


def _outcomes(cells: Sequence[tuple[Cell, Scores]], constants: Constants) -> dict[tuple[str, int], Outcome]:
    """What comes of some constants, by data set and number of defects: means over lines of means over draws."""
    by_line: dict[tuple[str, int], dict[str, list[tuple[float, float]]]] = {}
    module = straying.__module__
    with (
        patch(f"{module}._STRAY", constants.most),
        patch(f"{module}._STRAY_WITH_DEFECTS", constants.with_defects),
    ):
        for cell, scores in cells:
            rates = scores.rates(scores.threshold(PROMISED).reject)
            by_line.setdefault((scores.data_set, cell.defects), {}).setdefault(cell.line, []).append(rates)
    return {
        key: Outcome(*np.mean([np.mean(rates, 0) for rates in lines.values()], 0).tolist())
        for key, lines in by_line.items()
    }


def _choice(outcomes: dict[Constants, dict[tuple[str, int], Outcome]], without: str) -> Constants:
    """The least constants by which the other data sets reject as promised, the one of them that rejects most left out.

    Those without defects first: what defects add comes on top.
    """

    def rejected(constants: Constants, defects: int) -> float:
        found = outcomes[constants].items()
        rates = sorted(out.rejected for (name, number), out in found if number == defects and name != without)
        return float(np.mean(rates[:-1]))

    def least(candidates: Iterator[Constants], defects: int) -> Constants:
        *others, last = candidates
        return next((constants for constants in others if rejected(constants, defects) <= PROMISED), last)

    most = least((Constants(factor, SHIPPED.with_defects) for factor in FACTORS), 0).most
    return least((Constants(most, factor) for factor in FACTORS), 4)


def _table(outcomes: dict[Constants, dict[tuple[str, int], Outcome]]) -> list[str]:
    rows: list[list[str]] = []
    sums: list[list[float]] = []
    for name in sorted({data_set for data_set, _ in outcomes[SHIPPED]}):
        chosen = _choice(outcomes, name)
        figures = [
            getattr(outcomes[constants][name, defects], figure)
            for defects in (0, 4)
            for constants in (SHIPPED, chosen)
            for figure in Outcome._fields
        ]
        sums.append(figures)
        rows.append([name, f"{chosen.most:.1f}, {chosen.with_defects:.1f}", *(percent([figure]) for figure in figures)])
    rows.append(["mean", "", *(percent([figure]) for figure in np.mean(sums, 0).tolist())])
    columns = [
        f"{defects}, {whose}: {figure}"
        for defects in ("no defect", "4 defects")
        for whose in ("shipped", "chosen")
        for figure in Outcome._fields
    ]
    return table(["left out", "chosen of the others", *columns], rows)


if __name__ == "__main__":
    main()
