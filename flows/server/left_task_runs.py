"""Task runs whose flow run has ended without them: their process died, and nobody else would end them.

The server's automations crash a flow run that is silent (`flows.server.automations`), and have no action for task runs:
those would stand there as running for ever, and hold the slots of limits by tag.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Crashed

from flows.server.our_deployments import our_deployments

_ENDED = sorted(TERMINAL_STATES)
_GOES_ON = sorted(set(StateType) - TERMINAL_STATES)
_PAGE = 200  # the server gives no more at once
LATE_NEWS = timedelta(minutes=2)
"""The server hears of a task's end by an event, later than of its flow's end: so long a task run is left alone."""


def crash_left_task_runs(client: SyncPrefectClient, ended_for: timedelta = LATE_NEWS) -> int:
    """Crash the task runs that go on, as far as the server knows, in runs of Linewise's flows that have ended, whoever
    asked for them; that frees the slots that they hold.

    One whose process is alive all the same tells of its end later, which then holds.

    Args:
        client: of the server.
        ended_for: how long ago their flow runs ended, at least.

    Returns:
        How many.
    """
    ours = sorted({found.flow_id for found in our_deployments(client)})
    if not ours:
        return 0
    before = FlowRunFilterEndTime.model_validate({"before_": datetime.now(UTC) - ended_for})
    ended = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ENDED)),
        end_time=before,
    )
    crashed, passed = 0, 0
    while page := client.read_task_runs(
        flow_filter=FlowFilter(id=FlowFilterId(any_=ours)),
        flow_run_filter=ended,
        task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_GOES_ON))),
        limit=_PAGE,
        offset=passed,
    ):
        for run in page:
            if crash_task_run(client, run.id, "The run that it belonged to has ended, and its process is gone."):
                crashed += 1
            else:
                passed += 1
    return crashed


def crash_task_run(client: SyncPrefectClient, task_run: UUID, message: str) -> bool:
    """Crash a task run, whatever it does as far as the server knows; whether the server has it."""
    try:
        client.set_task_run_state(task_run, Crashed(message=message), force=True)
    except httpx.HTTPStatusError as error:  # of task runs the client says nothing better
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return False
    return True


def sweep_task_runs() -> None:
    """`crash_left_task_runs` at the start of a flow that a schedule runs: so it is done as often as anything is.

    Outside of a deployment's run nothing happens.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:  # the server is away: there is a next time
        if crashed := crash_left_task_runs(client):
            get_run_logger().info("%d task runs that were left of runs that have ended are crashed", crashed)
