"""The flows `adapt-line` and `adapt-new-lines`: a few images of a new line in, a registered and live bundle out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.states import Failed

from deploy.bundles.facts import all_facts
from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from flows.adapt import job
from flows.adapt.new_lines import NewLine, NewLinesResult, incoming_folder, new_lines, request_for
from flows.adapt.preview import preview, preview_files
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.server.artifacts import (
    MAX_PICTURES,
    Cell,
    ProgressArtifact,
    artifact_key,
    figures_table,
    heat_map_gallery,
    publish_figures,
    publish_markdown,
    publish_table,
)
from flows.server.gate_artifact import HELD, ended, show_gate
from flows.server.late_runs import skip_late_runs
from flows.server.left_task_runs import sweep_task_runs
from flows.server.line_events import LineEvent, tell_of_line
from flows.server.runs import fails_with_a_sentence, retried_on_storage_trouble, tagged
from pipeline.errors import ConfigError, UnfinishedError
from pipeline.settings import load_settings


@flow(name="adapt-line", flow_run_name="adapt {request.line}")
@fails_with_a_sentence
def adapt_line(request: AdaptRequest) -> job.AdaptResult:
    """Adapt and register, then show what the new version sees in images of the line."""
    with tagged(f"line:{request.line}", f"learner:{request.asked_learner}"):
        result = adapt(request)
        show(request, result)
        if result.gate is not None:
            show_gate(result.gate, load_settings())
        elif result.live:
            tell_of_line(LineEvent.PROMOTED, request.line, version=result.bundle.manifest.version)
    return ended(result, result.gate)


@flow(name="adapt-new-lines", flow_run_name="adapt new lines")
@fails_with_a_sentence
def adapt_new_lines(request: AdaptNewLinesRequest) -> NewLinesResult:
    """Run adapt-line for every folder of a line that is not registered; one that fails does not stop the others."""
    skip_late_runs()
    sweep_task_runs()
    settings = load_settings()
    incoming = incoming_folder(request, settings)
    states = {name: _adapt_new_line(request, incoming / name) for name in new_lines(incoming, settings)}
    show_new_lines(states)
    lines = [
        NewLine(name=line, problem=None if _is_live(state) else state.message or state.name or "no reason")
        for line, state in states.items()
    ]
    result = NewLinesResult(incoming=incoming, lines=tuple(lines))
    if failed := ", ".join(line.name for line in lines if line.problem is not None):
        remedy = "mend what the table of this run says"
        raise UnfinishedError("every new line to be adapted", f"failures for {failed}", remedy, result)
    return result


def _is_live(state: State[Any]) -> bool:
    return state.is_completed() and state.name != HELD


def _adapt_new_line(request: AdaptNewLinesRequest, images: Path) -> State[Any]:
    """What became of one new line: the state of its own run, or the failure that it never had one."""
    try:
        one = request_for(request, images)
    except ConfigError as error:
        return Failed(message=str(error), data=error)
    return adapt_line(one, return_state=True)


@task(
    task_run_name="adapt, learner {request.asked_learner}",
    **retried_on_storage_trouble(5, 30),
)
def adapt(request: AdaptRequest) -> job.AdaptResult:
    """From images to a checked bundle in the registry."""
    return job.run(request, load_settings(), ProgressArtifact(artifact_key("progress", request.line)))


@task(task_run_name="look at {request.line}", persist_result=False)
def show(request: AdaptRequest, result: job.AdaptResult) -> None:
    """The bundle's figures beside heat maps of a few images."""
    manifest = result.bundle.manifest
    facts = all_facts(manifest)
    figures: dict[str, Cell] = {
        "live": result.live,
        **{fact.name: fact.value for fact in facts if fact.brief},
        "seconds": result.seconds,
        "peak MiB": result.peak_mib,
    }
    if result.remarks:
        figures["remarks"] = " ".join(result.remarks)
    deployment = Registry(load_settings().home).deployment(request.line, manifest.version)
    seen = preview(deployment, request.images)
    notes = {shown.item.name: "support:" for shown in seen if shown.in_support}
    more = (
        "## What it sees\n\n"
        f"{heat_map_gallery([shown.item for shown in seen], notes)}\n\n"
        "Images of the support, which it was adapted from, prove little: score new ones before you rely on it.\n\n"
        f"{_left_out(request, result, deployment)}"
        f"## What else is known of it\n\n{figures_table({fact.name: fact.value for fact in facts if not fact.brief})}"
    )
    publish_figures(artifact_key("adapt", request.line), figures, f"{request.line} {manifest.version}", more)


def _left_out(request: AdaptRequest, result: job.AdaptResult, deployment: Deployment) -> str:
    """A section on the unlabelled images that were not taken up; empty where there are none."""
    report = result.taken_up
    if report is None or not report.left_out:
        return ""
    taken, left_out = len(report.taken), len(report.left_out)
    named = {report.named(image, request.unlabelled): image.path for image in report.left_out[:MAX_PICTURES]}
    pictured = preview_files(deployment, named)
    fewer = f" The {len(pictured)} with the highest scores:" if len(pictured) < left_out else ""
    return (
        "## Unlabelled images left out\n\n"
        f"{taken:,} of {taken + left_out:,} unlabelled images are taken up as good. {left_out:,} "
        f"{'is' if left_out == 1 else 'are'} not, as {report.reason}: look for defects among them.{fewer}\n\n"
        f"{heat_map_gallery(pictured)}\n\n"
    )


def show_new_lines(states: dict[str, State[Any]]) -> None:
    """A table of what became of each new line."""
    rows = [{"line": line, "state": state.name, "message": state.message} for line, state in states.items()]
    if rows:
        publish_table("new-lines", rows, "New lines of this run")
    else:
        publish_markdown("new-lines", "Every line in the incoming folder is registered.", "New lines of this run")
