"""The flow `evaluate`: learners compared on lines that neither meta-training nor adaptation has seen."""

from __future__ import annotations

import math

from prefect import flow, task

from flows.evaluate import job
from flows.evaluate.figures.evaluation_rows import METRIC
from flows.evaluate.figures.summary import Evaluation
from flows.evaluate.figures.tables import markdown
from flows.evaluate.request import EvaluateRequest
from flows.server.artifacts import Cell, ProgressArtifact, artifact_key, figures_table, publish_markdown, publish_table
from flows.server.runs import fails_with_a_sentence, tagged
from pipeline.settings import load_settings

MAX_ROWS = 1000


@flow(name="evaluate", flow_run_name="evaluate {request.scenario.value}")
@fails_with_a_sentence
def evaluate(request: EvaluateRequest) -> job.EvaluateResult:
    """Measure, write the files that are asked for, show."""
    with tagged(*(f"learner:{learner.value}" for learner in request.learners)):
        result = measure(request)
        show(Evaluation(result.rows), result)
    return result


@task(task_run_name="evaluate {request.scenario.value}", persist_result=False)
def measure(request: EvaluateRequest) -> job.EvaluateResult:
    """Meta-train on every fold's source lines, adapt to its test lines, score them. Not retried: it takes hours."""
    return job.run(request, load_settings(), ProgressArtifact(artifact_key("progress", "evaluate")))


def show(evaluation: Evaluation, result: job.EvaluateResult) -> None:
    """The means as markdown, the rows as a table."""
    cost: dict[str, Cell] = {
        "rows": len(result.rows),
        "minutes": result.seconds / 60,
        "peak memory, MiB": result.peak_mib,
    }
    if result.remarks:
        cost["remarks"] = " ".join(result.remarks)
    publish_markdown("evaluation", f"{markdown(evaluation)}\n\n{figures_table(cost)}", "Learners compared")
    publish_table("evaluation-rows", [_cells(row) for row in result.rows[:MAX_ROWS]], "One row an adaptation")


def _cells(row: dict[str, Cell]) -> dict[str, Cell]:
    """A row for people: figures rounded, undefined ones empty."""
    return {
        name: (None if math.isnan(value) else round(value, 4)) if name in METRIC and isinstance(value, float) else value
        for name, value in row.items()
    }
