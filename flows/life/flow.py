"""The flow `tend-plant`: a plant's folder of lines in, new versions of those that are due out, all behind the gate."""

from __future__ import annotations

from contextlib import AbstractContextManager

from prefect import flow
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.adapt.flow import adapt_line
from flows.life import job
from flows.life.job import Outcome, TendResult
from flows.life.request import TendRequest
from flows.server.artifacts import artifact_key, publish_markdown, publish_table
from flows.server.gate_artifact import HELD
from flows.server.late_runs import skip_late_runs
from flows.server.left_task_runs import sweep_task_runs
from flows.server.line_events import LINE_RESOURCE, LineEvent, tell_of_line
from flows.server.runs import fails_with_a_sentence, tagged
from pipeline.errors import UnfinishedError
from pipeline.settings import load_settings

READAPT = "re-adapt"
"""The policy of an event of drift that asks for another version of the line."""


def run_name() -> str:
    """Of the line that is tended, where it is one: in a list of runs, what an event had done."""
    line = flow_run.parameters.get("line")
    return f"tend {line_named_by(line)}" if line else "tend the plant"


def line_named_by(name: str) -> str:
    """A line's name, of itself or of an event's resource."""
    return name.removeprefix(LINE_RESOURCE)


@flow(name="tend-plant", flow_run_name=run_name)
@fails_with_a_sentence
def tend_plant(request: TendRequest, line: str | None = None, policy: str | None = None) -> TendResult:
    """Run adapt-line for every line that is due; one that fails does not stop the others.

    Args:
        request: the plant's folder, and when a line is due.
        line: the only line to tend, or an event's resource that names it. Events have tend-line run instead, which
            waits for no other line.
        policy: of an event of drift: re-adapt does not wait for every-hours to pass, and any other does nothing.
    """
    skip_late_runs()
    sweep_task_runs()
    asked = {"line": line_named_by(line)} if line else {}
    request = request.model_copy(update={**asked, "drifted": request.drifted or policy == READAPT})
    if policy not in (None, READAPT):
        with _tagged(request):
            return _skipped(
                TendResult(folder=request.folder, lines=()), f"The policy {policy!r} asks for no new version."
            )
    return tend(request)


def tend(request: TendRequest) -> TendResult:
    """The rest of both flows: run adapt-line for every line asked for that is due, and show what became of each.

    Raises:
        UnfinishedError: a line failed.
        LineError, StorageError: see `flows.life.job.run`.
    """

    def tell_of_new(name: str) -> None:
        tell_of_line(LineEvent.APPEARED, name)

    on_new = tell_of_new if request.line is None else None  # one line is asked for by whoever knows of it
    with _tagged(request):
        result = job.tend_lines(request, load_settings(), adapt_line, on_new=on_new)
        _show(request, result)
    if failed := result.of(Outcome.FAILED):
        names = ", ".join(one.name for one in failed)
        remedy = "mend what the table of this run says"
        raise UnfinishedError("every line to be tended", f"failures for {names}", remedy, result)
    return _ended(result)


def _tagged(request: TendRequest) -> AbstractContextManager[None]:
    return tagged(*([f"line:{request.line}"] if request.line else []))


def _ended(result: TendResult) -> TendResult:
    """The run's list shows that a line is held, or left to the process that is at it, and says why."""
    held, busy = result.of(Outcome.HELD), result.of(Outcome.BUSY)
    if busy and len(busy) == len(result.lines):
        return _skipped(result, " ".join(f"{one.name}: {one.why}." for one in busy))
    if not held or FlowRunContext.get() is None:
        return result
    return Completed(name=HELD, message=" ".join(one.why for one in held), data=result)  # type: ignore[return-value]  # Prefect takes a state as the result


def _skipped(result: TendResult, message: str) -> TendResult:
    if FlowRunContext.get() is None:
        return result
    return Completed(name="Skipped", message=message, data=result)  # type: ignore[return-value]


def _show(request: TendRequest, result: TendResult) -> None:
    key = artifact_key("tended", request.line or "lines")
    rows = [
        {"line": line.name, "outcome": line.outcome.value, "version": line.version, "why": line.why}
        for line in result.lines
    ]
    if rows:
        publish_table(key, rows, "Lines that were tended")
    else:
        publish_markdown(key, "No line's folder was found.", "Lines that were tended")
