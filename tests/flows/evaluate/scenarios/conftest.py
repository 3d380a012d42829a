"""What two scenarios are compared by."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.asking.learner_names import LearnerName
from flows.evaluate import job as evaluate
from flows.evaluate.request import Scenario
from pipeline.evaluation import Row
from pipeline.settings import Settings
from tests.flows.evaluate.scenarios.evaluated import request


@pytest.fixture(scope="session")
def few(lines: Path, settings: Settings) -> list[Row]:
    """Few-shot rows of the memory bank."""
    job = request(lines, Scenario.FEW_SHOT, learners=(LearnerName.MEMORY_BANK,), good=(1, 2), defects=(0, 2))
    return evaluate.run(job, settings).rows
