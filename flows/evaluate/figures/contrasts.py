"""What the scenarios are run for: the same learner under two conditions, and what an updated trunk has forgotten."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from flows.evaluate.figures.evaluation_rows import METRIC, Setting
from flows.evaluate.figures.summary import Evaluation, Paired
from flows.evaluate.scenarios.conditions import AS_TAKEN, HeadOrigin, Update


class Contrast(NamedTuple):
    """Two settings that differ in one thing. `given` is what they share, in words."""

    given: str
    label: str
    setting: Setting
    reference: Setting


def contrasts(evaluation: Evaluation) -> list[Contrast]:
    """Every contrast whose two settings the evaluation has: re-adapted against stale, stale against unshifted and
    unadapted, a line's own theta against the shared one, replay against the newest line alone.
    """
    found = []
    for setting in evaluation.settings:
        as_taken = setting._replace(condition=AS_TAKEN, adaptation=HeadOrigin.UNSHIFTED)
        references: dict[str, list[Setting]] = {
            HeadOrigin.RE_ADAPTED: [setting._replace(adaptation=HeadOrigin.STALE)],
            HeadOrigin.STALE: [as_taken, setting._replace(adaptation=HeadOrigin.UNADAPTED)],
            HeadOrigin.OWN: [setting._replace(adaptation=HeadOrigin.SHARED)],
        }
        for reference in references.get(setting.adaptation, []):
            given = setting._replace(adaptation="").label
            found.append(Contrast(given, f"{setting.adaptation} - {reference.adaptation}", setting, reference))
        if setting.condition == Update.REPLAY:
            given = setting._replace(condition="").label
            reference = setting._replace(condition=Update.NEWEST)
            found.append(Contrast(given, f"{Update.REPLAY} - {Update.NEWEST}", setting, reference))
    return [contrast for contrast in found if contrast.reference in evaluation.settings]


def contrast_pairs(evaluation: Evaluation, metric: str) -> list[tuple[Contrast, str, Paired]]:
    """Each contrast of each learner that has rows on both sides."""
    pairs = [
        (contrast, learner, evaluation.paired(metric, learner, contrast.setting, against=(learner, contrast.reference)))
        for contrast in contrasts(evaluation)
        for learner in evaluation.learners
    ]
    return [entry for entry in pairs if entry[2].by_line]


class Forgetting(NamedTuple):
    """Means over data sets of the lines that were measured at several stages: the figure at arrival, that of the last
    stage, and forgetting: the best of the earlier stages minus the last (the other way round where lower is better).
    """

    at_arrival: float
    last: float
    forgotten: float
    lines: int


def forgetting(evaluation: Evaluation, metric: str, learner: str, setting: Setting) -> Forgetting | None:
    """What a learner's trunk forgot, taken line by line and seed by seed; None without a line of several stages."""
    sign = -1.0 if METRIC[metric].lower_is_better else 1.0
    histories: dict[tuple[str, int], list[float]] = {}
    for row in sorted(evaluation.rows, key=lambda row: row.stage):
        if row.stage and (row.learner, row.setting) == (learner, setting) and not math.isnan(row.values[metric]):
            histories.setdefault((row.line, row.seed), []).append(row.values[metric])
    by_line: dict[str, list[tuple[float, float, float]]] = {}
    for (line, _), values in histories.items():
        if len(values) > 1:
            best = max(sign * value for value in values[:-1])
            by_line.setdefault(line, []).append((values[0], values[-1], best - sign * values[-1]))
    if not by_line:
        return None
    means = {line: np.mean(figures, axis=0) for line, figures in by_line.items()}
    first, last, forgotten = (
        evaluation.over_data_sets({line: float(mean[i]) for line, mean in means.items()}) for i in range(3)
    )
    return Forgetting(first, last, forgotten, len(means))
