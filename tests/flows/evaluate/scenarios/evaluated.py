"""Evaluations small enough for a test."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from flows.asking.learner_names import LearnerName
from flows.evaluate.figures.evaluation_rows import METRICS
from flows.evaluate.request import EvaluateRequest, Scenario
from pipeline.evaluation import Row

SIZE = 64
LEARNERS_HERE = (LearnerName.MEMORY_BANK, LearnerName.IN_CONTEXT, LearnerName.HYPERNETWORK)


def request(lines: Path, scenario: Scenario, **changes: Any) -> EvaluateRequest:
    fields: dict[str, Any] = {
        "scenario": scenario,
        "lines": lines,
        "learners": LEARNERS_HERE,
        "good": 2,
        "defects": (2,),
        "seeds": 1,
    }
    return EvaluateRequest(**(fields | {"size": SIZE, "iterations": 12, "arrival_iterations": 10} | changes))


def figures(row: Row) -> dict[str, float | None]:
    """A row's metrics; nan as None, which equals itself."""
    shares = [metric.key for metric in METRICS if metric.unit == "share"]
    return {key: None if math.isnan(row[key]) else row[key] for key in shares}
