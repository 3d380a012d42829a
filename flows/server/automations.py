"""What the Prefect server does by itself: it ends runs that nobody will end, and has lines tended of which it hears.

A run whose machine lost power says no more. It would stand there for ever and hold its deployment's slot, so that later
runs wait or are cancelled. Those automations must exist before the run does: a server watches what it was told of.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import Automation as AutomationThere
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from deploy.drift.policy import DriftPolicy
from flows.activities import TEND_LINE_DEPLOYMENT
from flows.server.heartbeats import FLOWS, SILENCE
from flows.server.line_events import LINE_RESOURCE, POLICY_LABEL

SILENT_RUNS = "linewise: crash silent runs"
UNSTARTED_RUNS = "linewise: crash runs that never start"
START = timedelta(minutes=5)
"""After so long a run that a worker took counts as never started. A process that opens torch on a busy machine takes
minutes: at 100 seconds runs of workers that were alive were crashed. Whoever starts a dead worker anew ends at once
what it took, by heartbeats and not by this time (`flows.plant.unstarted_runs.crash_unstarted_runs`)."""
_FORMER_START = timedelta(seconds=100)

NEW_LINES = "linewise: adapt lines that appear"
DRIFTED_LINES = "linewise: adapt lines that drift"

_ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Held", "Skipped", "Failed", "Cancelled", "Crashed")}
_WAITING = {
    f"prefect.flow-run.{state}"
    for state in ("Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry", "Paused", "Suspended", "Cancelling")
}


def create_automations(client: SyncPrefectClient, pool: str) -> None:
    """Create what is missing; one that is there may have been changed in the UI, and stays. One that a former version
    made, and nobody changed, is replaced.

    Args:
        client: of the server.
        pool: the work pool whose runs must start in time; those of another may wait for a cluster.
    """
    _renew(client, UNSTARTED_RUNS, _is_former_start)
    silent = _silent_runs()
    _renew(client, SILENT_RUNS, lambda there: _is_of_other_flows(there, silent))
    for automation in (silent, _unstarted_runs(pool)):
        if not client.read_automations_by_name(automation.name):
            automation.create()


def create_line_automations(client: SyncPrefectClient, tend_line: UUID, tend_plant: UUID) -> None:
    """Create those that run a deployment for a line of which an event tells, where they are missing.

    An event of drift starts a run where the line's policy asks for one: its resource says so, as a trigger cannot look
    into the payload.

    Args:
        client: of the server.
        tend_line: the deployment that they run; the event says which line.
        tend_plant: the one that a former version's ran, where the runs for all lines queued behind one another.
    """
    line, readapt = {"line": _filled_in("{{ event.resource.id }}")}, DriftPolicy.RE_ADAPT.value
    former_runs = [(tend_plant, line), (tend_plant, {**line, "policy": readapt})]

    def is_former(automation: AutomationThere) -> bool:
        trigger = automation.trigger
        of_any_policy = isinstance(trigger, EventTrigger) and trigger.match == _of_lines({})
        runs = [_what_is_run(action) for action in automation.actions]
        return (automation.name == DRIFTED_LINES and of_any_policy) or any(one in former_runs for one in runs)

    of_policy, drifted = {POLICY_LABEL: readapt}, {**line, "drifted": True}
    for automation in (
        _run_for_line(NEW_LINES, "linewise.line.appeared", {}, tend_line, line),
        _run_for_line(DRIFTED_LINES, "linewise.drift", of_policy, tend_line, drifted),
    ):
        _renew(client, automation.name, is_former)
        if not client.read_automations_by_name(automation.name):
            automation.create()


def _what_is_run(action: object) -> tuple[UUID | None, Any] | None:
    return (action.deployment_id, action.parameters) if isinstance(action, RunDeployment) else None


def _is_former_start(automation: AutomationThere) -> bool:
    return isinstance(automation.trigger, EventTrigger) and automation.trigger.within == _FORMER_START


def _is_of_other_flows(automation: AutomationThere, ours: Automation) -> bool:
    """A former version had any flow's runs crashed, also those that have heartbeats as seldom as Prefect's default."""
    there, here = automation.trigger, ours.trigger
    if not isinstance(there, EventTrigger) or not isinstance(here, EventTrigger):
        return False
    return there.within == here.within and there.match_related != here.match_related


def _renew(client: SyncPrefectClient, name: str, is_former: Callable[[AutomationThere], bool]) -> None:
    """Delete what a former version made, to be made anew; one that somebody switched off stays, and off."""
    for automation in client.read_automations_by_name(name):
        if automation.enabled and is_former(automation):
            client.delete_automation(automation.id)


def _of_lines(labels: dict[str, str]) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.id": [f"{LINE_RESOURCE}*"], **labels})


def _run_for_line(
    name: str, event: str, labels: dict[str, str], deployment_id: UUID, parameters: dict[str, Any]
) -> Automation:
    return Automation(
        name=name,
        description=f"An event {event} of a line runs {TEND_LINE_DEPLOYMENT} for it.",
        trigger=EventTrigger(
            match=_of_lines(labels),
            expect={event},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            RunDeployment(source="selected", deployment_id=deployment_id, parameters=parameters, job_variables=None)
        ],
    )


def _filled_in(template: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": template}


def _silent_runs() -> Automation:
    """A run that had heartbeats, and has none any more: its engine died while it ran. Of our flows, wherever they run:
    others may have heartbeats less often.
    """
    return Automation(
        name=SILENT_RUNS,
        description="A run of Linewise whose engine sent no heartbeat for 90 seconds is crashed, so that it frees its "
        "slot.",
        trigger=_missing(
            "prefect.flow-run.heartbeat",
            {"prefect.flow-run.heartbeat", *_ENDED},
            SILENCE,
            related={"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)},
        ),
        actions=[_crash("No heartbeat for 90 seconds: the engine is gone.")],
    )


def _unstarted_runs(pool: str) -> Automation:
    """A run that a worker took and never started: worker or machine died before the first heartbeat.

    What is expected are states, which the server itself tells of, not heartbeats, which a deployment may be without.
    """
    return Automation(
        name=UNSTARTED_RUNS,
        description="A run that did not start within five minutes after a worker took it is crashed, so that it frees "
        "its slot.",
        trigger=_missing(
            "prefect.flow-run.Pending",
            {"prefect.flow-run.Running", *_ENDED, *_WAITING},
            START,
            related={"prefect.resource.role": "work-pool", "prefect.resource.name": pool},
        ),
        actions=[_crash("Not started five minutes after a worker took it: the worker or its machine is gone.")],
    )


def _missing(after: str, expected: set[str], within: timedelta, *, related: dict[str, str | list[str]]) -> EventTrigger:
    """For each run: after one event none of the expected ones came in time; of runs of `related` things only."""
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        match_related=ResourceSpecification({**related}),
        after={after},
        expect=expected,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )


def _crash(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)
