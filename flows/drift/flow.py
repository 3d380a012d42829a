"""The flow `watch-drift`: what was scored since the last look in; alarms with pictures and an event a line out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from prefect import flow, task
from prefect.events import emit_event
from prefect.logging import get_run_logger

from deploy.reports.overlay import encode_jpeg
from deploy.results.drift_rows import alarm_facts
from flows.drift import job
from flows.drift.request import WatchDriftRequest
from flows.drift.show import changed, sentence
from flows.server.artifacts import (
    ProgressArtifact,
    artifact_key,
    in_a_run,
    picture,
    plain,
    publish_markdown,
    publish_table,
)
from flows.server.late_runs import skip_late_runs
from flows.server.left_task_runs import sweep_task_runs
from flows.server.line_events import LINE_RESOURCE, POLICY_LABEL
from flows.server.runs import fails_with_a_sentence, retried_on_storage_trouble
from pipeline.errors import ImageError
from pipeline.imaging.images import read_native
from pipeline.settings import load_settings
from pipeline.unicode_names import one_line

EVENT = "linewise.drift"
"""Of the resource `linewise.line.<line>`; its payload has the line, its policy, and its new alarms in words."""


@flow(name="watch-drift", flow_run_name="watch for drift")
@fails_with_a_sentence
def watch_drift(request: WatchDriftRequest) -> job.WatchDriftResult:
    """Look at what is new of every line; tell each alarm once."""
    skip_late_runs()
    sweep_task_runs()
    result = watch(request)
    show(result)
    return result


@task(task_run_name="watch for drift", **retried_on_storage_trouble(5, 30))
def watch(request: WatchDriftRequest) -> job.WatchDriftResult:
    """Run the tests. Safe to repeat: how far a line was watched is in the store, with its alarms."""
    return job.run(request, load_settings(), ProgressArtifact(artifact_key("progress", "drift")))


def show(result: job.WatchDriftResult) -> None:
    """A table of the lines; of each alarm its words, with images of before and after, and one event a line."""
    publish_table(
        "drift",
        [
            {
                "line": found.line,
                "new images": found.new,
                "images": found.images,
                "images for a false alarm, at least": round(found.images_per_alarm),
                "alarms": len(found.alarms),
            }
            for found in result.watched
        ],
        "What was looked at for drift",
    )
    for line in result.untold:
        tell(line)
        job.told(line.alarms, load_settings())


def tell(line: job.LineAlarms) -> None:
    """A line's alarms: in the log, as an artifact, and as an event that automations can act on."""
    if not in_a_run():
        return
    for alarm in line.alarms:
        get_run_logger().warning("%s", one_line(sentence(alarm)))
    publish_markdown(artifact_key("drift", line.line), _markdown(line), f"Drift of {line.line}")
    emit_event(
        EVENT,
        resource={
            "prefect.resource.id": f"{LINE_RESOURCE}{line.line}",
            "prefect.resource.name": line.line,
            POLICY_LABEL: line.policy.value,
        },
        payload={
            "line": line.line,
            "policy": line.policy.value,
            "alarms": [alarm_facts(alarm) for alarm in line.alarms],
        },
    )


def _markdown(line: job.LineAlarms) -> str:
    """A row an alarm; pictures first, as the older UI wraps no words."""
    rows = [
        f"| {_last_picture(alarm.before)} | {_last_picture(alarm.after)} | **{plain(changed(alarm))}** |"
        for alarm in line.alarms
    ]
    heads = "| Before | After | What changed |\n| --- | --- | --- |"
    return "\n".join([f"Policy of the line: **{line.policy.value}**\n", heads, *rows])


def _last_picture(paths: Sequence[str]) -> str:
    """The latest of these images that is still there; else the path of the latest one."""
    for path in reversed(paths):
        with suppress(ImageError):  # a stream's frame, or a file that has gone since
            return picture(encode_jpeg(read_native(Path(path))), Path(path).name)
    return plain(paths[-1]) if paths else "none is kept"
