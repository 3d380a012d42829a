"""What the Prefect server does by itself about runs that nobody will end: a machine that lost power says no more.

Such a run would stand there for ever and hold its deployment's slot, so that later runs wait or are cancelled. The
automations must exist before the run does: a server watches what it was told of.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

SILENT_RUNS = "linewise: crash silent runs"
SILENCE = timedelta(seconds=90)  # three heartbeats of PREFECT_FLOWS_HEARTBEAT_FREQUENCY in prefect.yaml
UNSTARTED_RUNS = "linewise: crash runs that never start"
START = timedelta(seconds=100)  # a process that opens torch on a busy machine takes a minute

_ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
_WAITING = {
    f"prefect.flow-run.{state}"
    for state in ("Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry", "Paused", "Suspended", "Cancelling")
}


def create_automations(client: SyncPrefectClient, pool: str) -> None:
    """Create what is missing; one that is there may have been changed in the UI, and stays.

    Args:
        client: of the server.
        pool: the work pool whose runs must start in time; those of another may wait for a cluster.
    """
    for automation in (_silent_runs(), _unstarted_runs(pool)):
        if not client.read_automations_by_name(automation.name):
            automation.create()


def _silent_runs() -> Automation:
    """A run that had heartbeats, and has none any more: its engine died while it ran."""
    return Automation(
        name=SILENT_RUNS,
        description="A run whose engine sent no heartbeat for 90 seconds is crashed, so that it frees its slot.",
        trigger=_missing("prefect.flow-run.heartbeat", {"prefect.flow-run.heartbeat", *_ENDED}, SILENCE),
        actions=[_crash("No heartbeat for 90 seconds: the engine is gone.")],
    )


def _unstarted_runs(pool: str) -> Automation:
    """A run that a worker took and never started: worker or machine died before the first heartbeat.

    What is expected are states, which the server itself tells of, not heartbeats, which a deployment may be without.
    """
    return Automation(
        name=UNSTARTED_RUNS,
        description="A run that did not start within 100 seconds after a worker took it is crashed, so that it frees "
        "its slot.",
        trigger=_missing(
            "prefect.flow-run.Pending",
            {"prefect.flow-run.Running", *_ENDED, *_WAITING},
            START,
            related={"prefect.resource.role": "work-pool", "prefect.resource.name": pool},
        ),
        actions=[_crash("Not started 100 seconds after a worker took it: the worker or its machine is gone.")],
    )


def _missing(
    after: str, expected: set[str], within: timedelta, *, related: dict[str, str] | None = None
) -> EventTrigger:
    """For each run: after one event none of the expected ones came in time; of runs of `related` things only."""
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        match_related=ResourceSpecification({**(related or {})}),
        after={after},
        expect=expected,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )


def _crash(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)
