"""The flow `score-folder`: new images of a line in; decisions, heat maps and a report out."""

from __future__ import annotations

from typing import Annotated

from prefect import flow, task
from prefect.logging import get_run_logger
from pydantic import Field

from deploy.engine.devices import expected_device
from deploy.scoring.sources.shard import MOST_SHARDS
from flows.score import job
from flows.score.flagged_rows import flagged_rows
from flows.score.request import ScoreRequest
from flows.score.shards_flow import in_shards
from flows.server.artifacts import (
    ProgressArtifact,
    artifact_key,
    heat_map_gallery,
    in_a_run,
    publish_figures,
    publish_table,
    whole_report,
)
from flows.server.child_runs import cancel_what_it_asked_for
from flows.server.late_runs import skip_late_runs, skipping_late_runs
from flows.server.left_task_runs import sweep_task_runs
from flows.server.runs import fails_with_a_sentence, queued_for_gpu, retried_on_storage_trouble, tagged
from pipeline.settings import load_settings
from pipeline.unicode_names import one_line


@flow(
    name="score-folder",
    flow_run_name="score {request.line}",
    on_cancellation=[cancel_what_it_asked_for],
    on_crashed=[cancel_what_it_asked_for],
)
@fails_with_a_sentence
def score_folder(request: ScoreRequest, shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)] = 1) -> job.ScoreResult:
    """Wait for the GPU if one is used, score what is new, show what was found.

    Args:
        request: what to score.
        shards: into so many shares the folder is divided for the workers of the pool, or of the Dask cluster that
            LINEWISE_DASK_SCHEDULER names; 1: this run scores it alone.
    """
    skip_late_runs()
    sweep_task_runs()
    with tagged(f"line:{request.line}"):
        if shards > 1:  # before this run takes the GPU that a shard may wait for
            request = in_shards(request, shards)
        with queued_for_gpu(expected_device(request.device, load_settings())):
            result = score(request)
            warn_of_what_is_missing(result)
            show(result)
    return result


@task(
    task_run_name="score {request.images}",
    **retried_on_storage_trouble(5, 30, 120),
)
def score(request: ScoreRequest) -> job.ScoreResult:
    """Score the images. Safe to repeat: what was scored before a failure is in the store and is skipped."""
    progress = ProgressArtifact(artifact_key("progress", request.line))
    return job.run(request, load_settings(), skipping_late_runs(progress))


def warn_of_what_is_missing(result: job.ScoreResult) -> None:
    """Name the files that no decision was made on, and say what was left out, in the run's log."""
    if in_a_run():
        for remark in result.remarks:
            get_run_logger().warning("%s", one_line(remark))
        for file in result.summary.unreadable_files[:20]:
            get_run_logger().warning("no decision on %s: %s", one_line(str(file.path)), file.reason)


def show(result: job.ScoreResult) -> None:
    """Figures with the worst images as heat maps, and a table of what is flagged."""
    figures = {name.replace("_", " "): value for name, value in result.figures().items()}
    shown = heat_map_gallery(result.gallery)
    more = f"## Highest scores of this run\n\n{shown}\n\n{whole_report(result.report)}"
    publish_figures(artifact_key("score", result.line), figures, f"Scores of {result.line} {result.version}", more)
    flagged = flagged_rows(result.summary.flagged)
    if flagged:
        publish_table(artifact_key("flagged", result.line), flagged, f"Flagged images of {result.line}, worst first")
