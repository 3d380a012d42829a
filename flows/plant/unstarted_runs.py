"""What a dead worker left: runs that it took and did not start, and tasks of runs that have ended. Whoever starts the
next one knows that it is dead, and need not wait.
"""

from __future__ import annotations

from contextlib import suppress

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.bootstrap import server_client
from flows.server.left_task_runs import crash_left_task_runs
from flows.server.work_pool import WORK_POOL

_PAGE = 200  # the server gives no more at once


def crash_unstarted_runs(worker: str) -> int:
    """Crash the runs of the pool that a worker took and did not begin, where no worker is alive by its heartbeats: they
    would hold their slots until `flows.server.automations.START` has passed.

    Args:
        worker: that is known to be dead, whatever the server still thinks of it.

    Returns:
        How many.

    Raises:
        ConfigError: the server refuses, or went away.
    """
    with server_client("end runs that never start") as client:
        workers = client.read_workers_for_work_pool(WORK_POOL, limit=_PAGE)
        if any(found.status is WorkerStatus.ONLINE and found.name != worker for found in workers):
            return 0
        left = _pending(client)
        for run in left:
            with suppress(ObjectNotFound):  # deleted meanwhile
                client.set_flow_run_state(run.id, Crashed(message="Not started: the worker that took it is gone."))
    return len(left)


def crash_tasks_of_ended_runs() -> int:
    """See `flows.server.left_task_runs.crash_left_task_runs`.

    Raises:
        ConfigError: the server refuses, or went away.
    """
    with server_client("end tasks of runs that have ended") as client:
        return crash_left_task_runs(client)


def _pending(client: SyncPrefectClient) -> list[FlowRun]:
    """Read page by page."""
    chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING])))
    pool, found = WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL])), list[FlowRun]()
    while page := client.read_flow_runs(flow_run_filter=chosen, work_pool_filter=pool, limit=_PAGE, offset=len(found)):
        found += page
    return found
