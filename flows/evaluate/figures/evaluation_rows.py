"""An evaluation's rows: what is measured, what was given, and one row an adaptation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


@dataclass(frozen=True)
class Metric:
    """A column of the evaluation. Shares are 0..1 and shown as per cent."""

    key: str
    label: str
    unit: Literal["share", "s", "ms"] = "share"
    lower_is_better: bool = False


METRICS: tuple[Metric, ...] = (
    Metric("image_auroc", "Image AUROC"),
    Metric("image_auroc_seen", "AUROC, seen kinds"),
    Metric("image_auroc_unseen", "AUROC, unseen kinds"),
    Metric("image_ap", "Image AP"),
    Metric("f1_max", "F1-max"),
    Metric("pixel_auroc", "Pixel AUROC"),
    Metric("aupro", "AUPRO"),
    Metric("false_reject_rate", "False rejects", lower_is_better=True),
    Metric("missed_defect_rate", "Missed defects", lower_is_better=True),
    Metric("known_defects_passed", "Known defects passed", lower_is_better=True),
    Metric("meta_train_seconds", "Meta-train, s", "s", lower_is_better=True),
    Metric("adapt_seconds", "Adapt, s", "s", lower_is_better=True),
    Metric("score_ms", "Score, ms", "ms", lower_is_better=True),
)
METRIC = {metric.key: metric for metric in METRICS}


class Setting(NamedTuple):
    """How many images a learner was given, and what else tells rows apart (`flows.evaluate.scenarios.conditions`)."""

    good: int
    defects: int
    condition: str = ""
    adaptation: str = ""
    unlabelled: int = 0

    @property
    def label(self) -> str:
        """In words: "4 good, 2 defects, 30 unlabelled, light, stale"."""
        given = f"{self.good} good, {self.defects} defect{'' if self.defects == 1 else 's'}"
        unlabelled = f"{self.unlabelled} unlabelled" if self.unlabelled else ""
        return ", ".join(part for part in (given, unlabelled, self.condition, self.adaptation) if part)


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One adaptation and what it reached; `values` has every metric's key, nan where it is undefined.

    `stage` and `arrived` count from 1 in the incremental scenario, and are 0 in the others, as `strength` is but for
    domain shift.
    """

    line: str
    data_set: str
    learner: str
    setting: Setting
    seed: int
    values: Mapping[str, float]
    note: str = ""
    scenario: str = ""
    strength: float = 0.0
    stage: int = 0
    arrived: int = 0


def parse_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[EvaluationRow, ...]:
    """Check and type the rows of an evaluation.

    Args:
        rows: with line, learner, good, defects and seed; any of `METRICS` (absent or None: nan), unlabelled, scenario,
            condition, strength, adaptation, stage, arrived, note, data_set (absent: what stands before the line's first
            slash).

    Raises:
        ValueError: a key is missing, a metric is infinite, or two rows are the same adaptation.
    """
    parsed: dict[tuple[str, str, Setting, int, int], EvaluationRow] = {}
    for number, row in enumerate(rows):
        if missing := {"line", "learner", "good", "defects", "seed"} - row.keys():
            raise ValueError(f"expected line, learner, good, defects and seed, got row {number} without {min(missing)}")
        values = {metric.key: _number(row.get(metric.key)) for metric in METRICS}
        if any(math.isinf(value) for value in values.values()):
            raise ValueError(f"expected finite metrics or nan, got an infinite one in row {number}")
        line = str(row["line"])
        entry = EvaluationRow(
            line=line,
            data_set=str(row.get("data_set") or line.partition("/")[0]),
            learner=str(row["learner"]),
            setting=Setting(
                int(row["good"]),
                int(row["defects"]),
                str(row.get("condition") or ""),
                str(row.get("adaptation") or ""),
                int(row.get("unlabelled") or 0),
            ),
            seed=int(row["seed"]),
            values=values,
            note=str(row.get("note") or ""),
            scenario=str(row.get("scenario") or ""),
            strength=float(row.get("strength") or 0),
            stage=int(row.get("stage") or 0),
            arrived=int(row.get("arrived") or 0),
        )
        key = (entry.line, entry.learner, entry.setting, entry.seed, entry.stage)
        if key in parsed:
            raise ValueError(
                f"expected one row an adaptation, got two of {line}, {entry.learner}, {entry.setting.label}, "
                f"seed {entry.seed}"
            )
        parsed[key] = entry
    return tuple(parsed.values())


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
