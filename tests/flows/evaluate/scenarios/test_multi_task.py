"""Multi-task as a job: a theta that lines share against one of their own."""

from __future__ import annotations

from flows.asking.learner_names import LearnerName
from flows.evaluate import job as evaluate
from flows.evaluate.request import Scenario
from pipeline.evaluation import Row
from tests.flows.evaluate.scenarios.evaluated import figures, request


def test_multi_task_compares_a_shared_theta_with_a_theta_a_line(lines, settings):
    rows = evaluate.run(request(lines, Scenario.MULTI_TASK, iterations=16), settings).rows
    pooled = request(lines, Scenario.MULTI_TASK, learners=(LearnerName.IN_CONTEXT,), iterations=12)
    of_pooled = evaluate.run(pooled, settings).rows  # of three quarters of the steps

    def of(learner: str, adaptation: str, rows: list[Row] = rows) -> list[dict[str, float | None]]:
        return [figures(r) for r in rows if (r["learner"], r["adaptation"]) == (learner, adaptation)]

    assert len(of("memory_bank", "own")) == 3
    assert of("memory_bank", "shared") == []
    assert of("in_context", "own") == of("in_context", "shared")
    assert of("hypernetwork", "shared") == of("in_context", "own", of_pooled)
    assert of("hypernetwork", "own") != of("hypernetwork", "shared")
