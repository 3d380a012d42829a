"""The flow `housekeeping`: what is old goes, this server's finished runs among it."""

from __future__ import annotations

from prefect import flow, task

from flows.housekeeping import job
from flows.housekeeping.request import HousekeepingRequest
from flows.server.artifacts import Cell, ProgressArtifact, publish_figures
from flows.server.late_runs import skip_late_runs
from flows.server.left_task_runs import sweep_task_runs
from flows.server.old_runs import drop_old_runs
from flows.server.runs import fails_with_a_sentence, retried_on_storage_trouble
from pipeline.settings import load_settings


@flow(name="housekeeping", flow_run_name="housekeeping")
@fails_with_a_sentence
def housekeeping(request: HousekeepingRequest) -> job.HousekeepingResult:
    """Remove what is old, or say what would go."""
    skip_late_runs()
    sweep_task_runs()
    result = tidy_up(request)
    show(request, result)
    return result


@task(task_run_name="tidy up", **retried_on_storage_trouble(5, 30))
def tidy_up(request: HousekeepingRequest) -> job.HousekeepingResult:
    """Kind by kind."""
    return job.run(request, load_settings(), ProgressArtifact("progress-housekeeping"), drop_old_runs)


def show(request: HousekeepingRequest, result: job.HousekeepingResult) -> None:
    """How many of each kind went, and the room that they took."""
    figures: dict[str, Cell] = {}
    for removed in result.removed:
        figures[str(removed.kind)] = removed.count
        if removed.size_bytes:
            figures[f"{removed.kind} (MB)"] = removed.size_bytes / 1e6
    if result.remarks:
        figures["remarks"] = " ".join(result.remarks)
    publish_figures("housekeeping", figures, "What would go" if request.dry_run else "What went")
