"""What a schedule made and what waits: one run takes all that is there, so others that ask for the same need not run.

After a weekend with the worker off one run catches up. Behind a run that goes on for hours, or for ever as one that
watches, one waits. Runs that would wait are not cancelled by the server instead (`CANCEL_NEW`): behind a run that died
it would cancel what finds no run alive.
"""

from __future__ import annotations

import time
from contextlib import suppress

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Cancelled

from flows.progress import OnProgress, Progress

_DUE = ["Late", "AwaitingConcurrencySlot"]
_PAGE = 200  # the server gives no more at once
_AGAIN_SECONDS = 900.0


def skip_late_runs() -> None:
    """Skip the runs of this one's deployment that its schedule made, that are due already and ask for the same.

    For a flow that takes all there is, at its start: what those runs would find, the run that begins now finds. A run
    that somebody asked for, or with other parameters, is never skipped. Outside of a deployment's run nothing happens.
    """
    _skip(this_takes_all=True)


def skipping_late_runs(on_progress: OnProgress) -> OnProgress:
    """An `OnProgress` that hands on, and every quarter of an hour skips what the schedule made and need not wait.

    The run that goes on may have passed what came lately, so of those with equal parameters the first one waits on.
    """
    due = time.monotonic() + _AGAIN_SECONDS

    def tell(progress: Progress) -> None:
        nonlocal due
        on_progress(progress)
        if time.monotonic() >= due:
            with suppress(httpx.HTTPError):  # the server is away: there is a next time
                _skip(this_takes_all=False)
            due = time.monotonic() + _AGAIN_SECONDS

    return tell


def _skip(*, this_takes_all: bool) -> None:
    """Skip the schedule's due runs that another takes the place of: one of them, or this run."""
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    if run is None or run.deployment_id is None:
        return
    stay = [run] if this_takes_all else []
    skipped = 0
    with get_client(sync_client=True) as client:
        for late in [due for due in _due_runs(client, run) if due.auto_scheduled]:
            taker = next((other for other in stay if other.parameters == late.parameters), None)
            if taker is None:
                stay.append(late)
                continue
            message = f"The run {taker.name} takes what this one would have taken."
            try:
                client.set_flow_run_state(late.id, Cancelled(name="Skipped", message=message))
            except ObjectNotFound:  # deleted meanwhile
                continue
            skipped += 1
    if skipped:
        get_run_logger().info("%d late runs of the schedule are skipped: another takes what they would take", skipped)


def _due_runs(client: SyncPrefectClient, run: FlowRun) -> list[FlowRun]:
    """The runs of its deployment that wait although their time has come, read page by page, the first due first."""
    assert run.deployment_id is not None
    waiting = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[run.deployment_id]),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=_DUE)),
    )
    found: list[FlowRun] = []
    sort = FlowRunSort.EXPECTED_START_TIME_ASC
    while page := client.read_flow_runs(flow_run_filter=waiting, sort=sort, limit=_PAGE, offset=len(found)):
        found += page
    return found
