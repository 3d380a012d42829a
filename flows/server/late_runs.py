"""After a weekend with the worker off: one run catches up, and the schedule's other late runs do not start at all."""

from __future__ import annotations

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled

_DUE = ["Late", "AwaitingConcurrencySlot"]
_PAGE = 200  # the server gives no more at once


def skip_late_runs() -> None:
    """Skip the runs of this one's deployment that its schedule made, that are due already and ask for the same.

    For a flow that takes all there is: what those runs would find, the run that begins now finds. A run that somebody
    asked for, or with other parameters, is never skipped. Outside of a deployment's run nothing happens.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    if run is None or run.deployment_id is None:
        return
    with get_client(sync_client=True) as client:
        due = [other for other in _due_runs(client, run) if other.auto_scheduled]
        late = [other for other in due if other.parameters == run.parameters]
        for other in late:
            message = f"The run {run.name}, which began later than this one was due, takes what it would have taken."
            client.set_flow_run_state(other.id, Cancelled(name="Skipped", message=message))
    if late:
        get_run_logger().info("%d late runs of the schedule are skipped: this one takes all that is there", len(late))


def _due_runs(client: SyncPrefectClient, run: FlowRun) -> list[FlowRun]:
    """The runs of its deployment that wait although their time has come, read page by page."""
    assert run.deployment_id is not None
    waiting = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[run.deployment_id]),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=_DUE)),
    )
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=waiting, limit=_PAGE, offset=len(found)):
        found += page
    return found
