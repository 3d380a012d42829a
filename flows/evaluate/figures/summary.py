"""What an evaluation's rows say: spreads over seeds, means over lines and data sets, paired differences.

One row is one adaptation: a learner, a line, a setting (so many good and defective images, and what a scenario tells
apart), a seed, and in the incremental scenario a stage: figures are then those of a line's last stage. Means are taken
in one order everywhere: over seeds inside a line, over lines inside a data set, then over data sets, so that neither a
data set with many lines nor a line with many seeds outweighs the rest. A metric a row leaves undefined (nan: a line
without masks, an adaptation that failed) is left out of its means, never counted as zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from flows.evaluate.figures.evaluation_rows import METRIC, METRICS, EvaluationRow, Metric, Setting, parse_rows
from pipeline.metrics import Interval, paired_bootstrap

BASELINE = "memory_bank"
_TIE = 1e-9


class Note(NamedTuple):
    """A remark on a line, the learners it was made about, and the number of adaptations it holds for."""

    line: str
    text: str
    learners: tuple[str, ...]
    adaptations: int


class Spread(NamedTuple):
    """Mean, standard deviation (nan for a single value), extremes and number of the seeds that are defined."""

    mean: float
    deviation: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Overall:
    """A learner's mean over data sets; `deviation` is that of the same mean taken seed by seed."""

    mean: float
    deviation: float
    lines: int
    data_sets: int


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A learner against another, or against itself in another setting, on the same lines and seeds; positive
    differences are better.

    `by_line` holds each line's mean difference over seeds; `unpaired` counts rows that had no partner.
    """

    interval: Interval
    by_line: Mapping[str, float]
    wins: int
    ties: int
    losses: int
    worst_line: str | None
    data_sets: int
    unpaired: int

    @property
    def worst(self) -> float:
        """The worst line's difference; nan without one."""
        return self.by_line[self.worst_line] if self.worst_line is not None else math.nan


class Evaluation:
    """An evaluation's rows and every figure taken from them.

    Args:
        rows: see `parse_rows`.
        baseline: the learner that the others are compared with.
        seed: of the bootstrap.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], *, baseline: str = BASELINE, seed: int = 0) -> None:
        self.rows = parse_rows(rows)
        self.baseline = baseline
        self.seed = seed

    @cached_property
    def learners(self) -> tuple[str, ...]:
        """The learners, the baseline first, else in the rows' order."""
        found = dict.fromkeys(row.learner for row in self.rows)
        return tuple(sorted(found, key=lambda learner: learner != self.baseline))

    @cached_property
    def data_sets(self) -> Mapping[str, str]:
        """Each line's data set, lines sorted by data set and name."""
        found = {row.line: row.data_set for row in self.rows}
        return dict(sorted(found.items(), key=lambda entry: (entry[1], entry[0])))

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines, sorted by data set and name."""
        return tuple(self.data_sets)

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """The settings, sorted."""
        return tuple(sorted({row.setting for row in self.rows}))

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that at least one row has."""
        return tuple(m for m in METRICS if any(not math.isnan(row.values[m.key]) for row in self.rows))

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """What rows had to say, each thing once a line."""
        said: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            if row.note:
                said.setdefault((row.line, row.note), []).append(row.learner)
        return tuple(Note(*key, tuple(dict.fromkeys(by)), len(by)) for key, by in said.items())

    @cached_property
    def _seeds(self) -> Mapping[tuple[str, Setting, str], Mapping[int, EvaluationRow]]:
        index: dict[tuple[str, Setting, str], dict[int, EvaluationRow]] = {}
        for row in sorted(self.rows, key=lambda row: row.stage):
            index.setdefault((row.learner, row.setting, row.line), {})[row.seed] = row
        return index

    def by_seed(self, metric: str, learner: str, setting: Setting, line: str) -> dict[int, float]:
        """A line's values by seed, without those that are undefined."""
        rows = self._seeds.get((learner, setting, line), {})
        return {seed: row.values[metric] for seed, row in rows.items() if not math.isnan(row.values[metric])}

    def line(self, metric: str, learner: str, setting: Setting, line: str) -> Spread:
        """A line's spread over seeds."""
        values = list(self.by_seed(metric, learner, setting, line).values())
        if not values:
            return Spread(math.nan, math.nan, math.nan, math.nan, 0)
        return Spread(float(np.mean(values)), _deviation(values), min(values), max(values), len(values))

    def attempts(self, learner: str, setting: Setting, line: str) -> int:
        """How many seeds were tried on a line."""
        return len(self._seeds.get((learner, setting, line), {}))

    def overall(self, metric: str, learner: str, setting: Setting) -> Overall:
        """A learner's mean over data sets."""
        by_line = {line: self.by_seed(metric, learner, setting, line) for line in self.lines}
        by_line = {line: values for line, values in by_line.items() if values}
        means = {line: float(np.mean(list(values.values()))) for line, values in by_line.items()}
        seeds = set.intersection(*(set(values) for values in by_line.values())) if by_line else set()
        by_seed = [self.over_data_sets({line: by_line[line][seed] for line in by_line}) for seed in sorted(seeds)]
        grouped = self._grouped(means)
        return Overall(
            mean=self.over_data_sets(means),
            deviation=_deviation([float(np.mean(values)) for values in by_seed]),
            lines=len(means),
            data_sets=len(grouped),
        )

    def paired(
        self, metric: str, learner: str, setting: Setting, *, against: tuple[str, Setting] | None = None
    ) -> Paired:
        """A learner against the baseline in the same setting, or `against` a learner in a setting."""
        base_learner, base_setting = against or (self.baseline, setting)
        sign = -1.0 if METRIC[metric].lower_is_better else 1.0
        differences: dict[str, float] = {}
        unpaired = 0
        for line in self.lines:
            own = self.by_seed(metric, learner, setting, line)
            base = self.by_seed(metric, base_learner, base_setting, line)
            unpaired += len(own.keys() ^ base.keys())
            if shared := sorted(own.keys() & base.keys()):
                differences[line] = float(np.mean([sign * (own[seed] - base[seed]) for seed in shared]))
        by_data_set = [float(np.mean(values)) for values in self._grouped(differences).values()]
        return Paired(
            interval=paired_bootstrap(by_data_set, seed=self.seed),
            by_line=differences,
            wins=sum(value > _TIE for value in differences.values()),
            ties=sum(abs(value) <= _TIE for value in differences.values()),
            losses=sum(value < -_TIE for value in differences.values()),
            worst_line=min(differences, key=lambda line: differences[line]) if differences else None,
            data_sets=len(by_data_set),
            unpaired=unpaired,
        )

    def _grouped(self, by_line: Mapping[str, float]) -> dict[str, list[float]]:
        grouped: dict[str, list[float]] = {}
        for line, value in by_line.items():
            grouped.setdefault(self.data_sets[line], []).append(value)
        return grouped

    def over_data_sets(self, by_line: Mapping[str, float]) -> float:
        """The mean of lines' figures: over the lines of a data set, then over data sets."""
        means = [float(np.mean(values)) for values in self._grouped(by_line).values()]
        return float(np.mean(means)) if means else math.nan


def _deviation(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
