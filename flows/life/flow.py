"""The flow `tend-plant`: a plant's folder of lines in, new versions of those that are due out, all behind the gate."""

from __future__ import annotations

from prefect import flow
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.adapt.flow import adapt_line
from flows.life import job
from flows.life.job import Outcome, TendResult
from flows.life.request import TendRequest
from flows.server.artifacts import publish_markdown, publish_table
from flows.server.gate_artifact import HELD
from flows.server.late_runs import skip_late_runs
from flows.server.left_task_runs import sweep_task_runs
from flows.server.line_events import LINE_RESOURCE, LineEvent, tell_of_line
from flows.server.runs import fails_with_a_sentence, tagged
from pipeline.errors import UnfinishedError
from pipeline.settings import load_settings

READAPT = "re-adapt"
"""The policy of an event of drift that asks for another version of the line."""


def _run_name() -> str:
    """Of the line that is tended, where it is one: in a list of runs, what an event had done."""
    line = flow_run.parameters.get("line")
    return f"tend {line.removeprefix(LINE_RESOURCE)}" if line else "tend the plant"


@flow(name="tend-plant", flow_run_name=_run_name)
@fails_with_a_sentence
def tend_plant(request: TendRequest, line: str | None = None, policy: str | None = None) -> TendResult:
    """Run adapt-line for every line that is due; one that fails does not stop the others.

    Args:
        request: the plant's folder, and when a line is due.
        line: the only line to tend, or an event's resource that names it: what an automation fills in.
        policy: of an event of drift: re-adapt does not wait for every-hours to pass, and any other does nothing.
    """
    skip_late_runs()
    sweep_task_runs()
    asked = {"line": line.removeprefix(LINE_RESOURCE)} if line else {}
    request = request.model_copy(update={**asked, "drifted": request.drifted or policy == READAPT})

    def tell_of_new(name: str) -> None:
        if request.line is None:  # a run for one line was asked for by whoever knows of it
            tell_of_line(LineEvent.APPEARED, name)

    with tagged(*([f"line:{request.line}"] if request.line else [])):
        if policy not in (None, READAPT):
            return _skipped(TendResult(folder=request.folder, lines=()), policy)
        result = job.tend_lines(request, load_settings(), adapt_line, on_new=tell_of_new)
        _show(result)
    if failed := result.of(Outcome.FAILED):
        names = ", ".join(one.name for one in failed)
        remedy = "mend what the table of this run says"
        raise UnfinishedError("every line to be tended", f"failures for {names}", remedy, result)
    return _ended(result)


def _ended(result: TendResult) -> TendResult:
    """The run's list shows that a line is held, and says why."""
    held = result.of(Outcome.HELD)
    if not held or FlowRunContext.get() is None:
        return result
    return Completed(name=HELD, message=" ".join(one.why for one in held), data=result)  # type: ignore[return-value]  # Prefect takes a state as the result


def _skipped(result: TendResult, policy: str | None) -> TendResult:
    if FlowRunContext.get() is None:
        return result
    message = f"The policy {policy!r} asks for no new version."
    return Completed(name="Skipped", message=message, data=result)  # type: ignore[return-value]


def _show(result: TendResult) -> None:
    rows = [
        {"line": line.name, "outcome": line.outcome.value, "version": line.version, "why": line.why}
        for line in result.lines
    ]
    if rows:
        publish_table("tended-lines", rows, "Lines that were tended")
    else:
        publish_markdown("tended-lines", "No line's folder was found.", "Lines that were tended")
