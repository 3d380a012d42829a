"""The flow `score-plant`: new images of all lines in; each line's decisions out, in one process."""

from __future__ import annotations

from prefect import flow, task
from prefect.logging import get_run_logger

from deploy.engine.devices import expected_device
from flows.score import plant_job as job
from flows.score.flagged_rows import MAX_FLAGGED, flagged_rows
from flows.score.request import ScorePlantRequest
from flows.server.artifacts import (
    Cell,
    ProgressArtifact,
    artifact_key,
    in_a_run,
    plain,
    publish_figures,
    publish_table,
    whole_report,
)
from flows.server.late_runs import skip_late_runs, skipping_late_runs
from flows.server.left_task_runs import sweep_task_runs
from flows.server.line_events import telling_of_new_lines
from flows.server.runs import fails_with_a_sentence, queued_for_gpu, retried_on_storage_trouble, tagged
from pipeline.settings import load_settings
from pipeline.unicode_names import one_line

MAX_SENTENCES = 20
"""How many folders are named that no usable line belongs to, and unreadable files of a line."""


@flow(name="score-plant", flow_run_name="score plant {request.plant}")
@fails_with_a_sentence
def score_plant(request: ScorePlantRequest) -> job.ScorePlantResult:
    """Wait for the GPU if one is used, score what is new of every line, show what was found."""
    skip_late_runs()
    sweep_task_runs()
    with tagged(f"plant:{request.plant}"), queued_for_gpu(expected_device(request.device, load_settings())):
        result = score(request)
        warn_of_what_is_missing(result)
        show(request, result)
    return result


@task(
    task_run_name="score {request.images}",
    **retried_on_storage_trouble(5, 30, 120),
)
def score(request: ScorePlantRequest) -> job.ScorePlantResult:
    """Score the images. Safe to repeat: what was scored before a failure is in the store and is skipped."""
    progress = ProgressArtifact(artifact_key("progress", "plant", request.plant))
    settings = load_settings()
    return job.run(request, settings, skipping_late_runs(progress), telling_of_new_lines(settings))


def warn_of_what_is_missing(result: job.ScorePlantResult) -> None:
    """Name what no decision was made on, and bundles that could not be used, in the run's log."""
    if not in_a_run():
        return
    log, summary = get_run_logger(), result.summary
    for sentence in [*result.remarks, *summary.problems, *list(summary.skipped.values())[:MAX_SENTENCES]]:
        log.warning("%s", one_line(sentence))
    for line in summary.lines:
        for file in line.tally.unreadable[:MAX_SENTENCES]:
            log.warning("no decision on %s: %s", one_line(str(file.path)), file.reason)


def show(request: ScorePlantRequest, result: job.ScorePlantResult) -> None:
    """Figures of the whole plant, a table of its lines, and a table of what is flagged, each line's worst first."""
    plant, summary, figures = request.plant, result.summary, result.figures()
    counts = {name: value for name, value in figures.items() if name != "report" and not isinstance(value, list)}
    sentences = [*figures["remarks"], *figures["problems"], *figures["skipped_folders"][:MAX_SENTENCES]]
    said = "\n".join(f"- {plain(sentence)}" for sentence in sentences)
    missing = f"## What was left out\n\n{said}\n\n" if said else ""
    named: dict[str, Cell] = {name.replace("_", " "): value for name, value in counts.items()}
    pages = whole_report(result.report)
    publish_figures(artifact_key("plant", plant), named, f"Scores of {len(summary.lines)} lines", f"{missing}{pages}")
    publish_table(artifact_key("plant", plant, "lines"), figures["lines"], "The lines, each at its bundle")
    of_each = max(1, MAX_FLAGGED // max(1, len(summary.lines)))
    flagged: list[dict[str, Cell]] = [
        {"line": line.line, **row} for line in summary.lines for row in flagged_rows(line.tally.flagged(), of_each)
    ]
    if flagged:
        publish_table(artifact_key("plant", plant, "flagged"), flagged, "Flagged images, each line's worst first")
