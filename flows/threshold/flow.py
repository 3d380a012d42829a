"""The flow `set-threshold`: a line's threshold set by hand, or what some would have done."""

from __future__ import annotations

from prefect import flow, task

from deploy.bundles.facts import Section, facts_of
from flows.server.artifacts import Cell, artifact_key, publish_figures, publish_table
from flows.server.runs import fails_with_a_sentence, tagged
from flows.threshold import job
from flows.threshold.effect_rows import COLUMNS, basis, effect_rows
from flows.threshold.request import ThresholdRequest
from pipeline.settings import load_settings


@flow(name="set-threshold", flow_run_name="threshold of {request.line}")
@fails_with_a_sentence
def set_threshold(request: ThresholdRequest) -> job.ThresholdResult:
    """Tell what thresholds would have done; set the one that is asked for."""
    with tagged(f"line:{request.line}"):
        result = change(request)
        show(result)
    return result


@task(task_run_name="threshold of {request.line}", persist_result=False)  # not tried again: it may have set it
def change(request: ThresholdRequest) -> job.ThresholdResult:
    """From what was scored to a version that is live."""
    return job.run(request, load_settings())


def show(result: job.ThresholdResult) -> None:
    """The threshold's facts, and a table of what it and others would have done."""
    manifest = (result.made or result.live).manifest
    figures: dict[str, Cell] = {"set by hand now": result.made is not None, "figures": basis(result)}
    figures |= {fact.name: fact.value for fact in facts_of(manifest)[Section.DECISION] if fact.brief}
    publish_figures(artifact_key("threshold", manifest.line), figures, f"{manifest.line} {manifest.version}")
    if result.images:
        rows: list[dict[str, Cell]] = [dict(zip(COLUMNS, row, strict=True)) for row in effect_rows(result)]
        publish_table(artifact_key("threshold", manifest.line, "effects"), rows, "What thresholds would have done")
