"""What the Prefect server says of workers, deployments and runs. The server is the one of PREFECT_API_URL."""

from __future__ import annotations

from collections.abc import Callable, ItemsView
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, Worker, WorkerStatus
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from flows.bootstrap import server_client
from flows.server.work_pool import WORK_POOL

_PAGE = 200  # the server gives no more at once


@dataclass(frozen=True, kw_only=True)
class ServedWorker:
    """A worker of the pool, as the server sees it: online until a minute and a half after its last heartbeat."""

    name: str
    online: bool
    last_heartbeat: datetime | None


@dataclass(frozen=True, kw_only=True)
class ServedSchedule:
    """When a schedule makes runs, and whether it is on."""

    when: str
    on: bool


@dataclass(frozen=True, kw_only=True)
class ServedDeployment:
    """A deployment of the pool; `paused`: the switch of all its schedules is off."""

    name: str
    paused: bool
    schedules: tuple[ServedSchedule, ...]


@dataclass(frozen=True, kw_only=True)
class ServedRun:
    """A flow run: its state, since when, for a run that is late since when it is due, and the state's message."""

    id: str
    name: str
    state: str
    since: datetime | None
    message: str


@dataclass(frozen=True, kw_only=True)
class Served:
    """All of it.

    Args:
        version: of the server.
        pool_paused: nobody takes runs; None: there is no pool.
        workers: of the pool.
        deployments: those that the pool's workers take runs of.
        running: runs that go on.
        pending: runs that a worker took and that have not begun.
        waiting: runs whose time has come and that wait for a place (deployment's limit, GPU).
        late: runs whose time has come and that no worker took.
        failed: runs of the last hours that failed or crashed.
        unmended: those of them under whose name no later run goes on or completed.
    """

    version: str
    pool_paused: bool | None
    workers: tuple[ServedWorker, ...]
    deployments: tuple[ServedDeployment, ...]
    running: tuple[ServedRun, ...]
    pending: tuple[ServedRun, ...]
    waiting: tuple[ServedRun, ...]
    late: tuple[ServedRun, ...]
    failed: tuple[ServedRun, ...]
    unmended: tuple[ServedRun, ...]


def ask_server(*, hours: float) -> Served:
    """Ask for all of it; `hours`: how far back failed runs are looked for.

    Raises:
        ConfigError: the server refuses, or went away.
    """
    with server_client("ask how it does") as client:
        failed = _runs(client, _ended(StateType.FAILED, StateType.CRASHED, hours=hours))
        running = _runs(client, _in_state(StateType.RUNNING))
        again = {name: max(map(_time_of, runs)) for name, runs in _by_name(running + _completed(client, failed, hours))}
        return Served(
            version=client.api_version(),
            pool_paused=_pool_paused(client),
            workers=_workers(client),
            deployments=_deployments(client),
            running=_told(running),
            pending=_told(_runs(client, _in_state(StateType.PENDING))),
            waiting=_told(_runs(client, _named("AwaitingConcurrencySlot"))),
            late=_told(_runs(client, _named("Late"))),
            failed=_told(failed),
            unmended=_told([run for run in failed if run.name not in again or again[run.name] < _time_of(run)]),
        )


def _completed(client: SyncPrefectClient, failed: list[FlowRun], hours: float) -> list[FlowRun]:
    """Runs of the names of others that completed."""
    names = sorted({run.name for run in failed})
    return _runs(client, _ended(StateType.COMPLETED, hours=hours, names=names)) if names else []


def _by_name(runs: list[FlowRun]) -> ItemsView[str, list[FlowRun]]:
    found: dict[str, list[FlowRun]] = {}
    for run in runs:
        found.setdefault(run.name, []).append(run)
    return found.items()


def last_heartbeat(worker: str) -> datetime | None:
    """When the worker of that name was last heard of; None: never."""
    with server_client("ask how it does") as client:
        return next((found.last_heartbeat for found in _workers(client) if found.name == worker), None)


def pause_pool() -> bool:
    """Let the pool's workers take no more runs; whether they could before."""
    with server_client("pause its pool") as client:
        if client.read_work_pool(WORK_POOL).is_paused:
            return False
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
        return True


def resume_pool() -> None:
    """Let them take runs again."""
    with server_client("resume its pool") as client:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))


def runs_beginning() -> bool:
    """Whether a worker of the pool took a run that has not begun yet."""
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL]))
    with server_client("ask how it does") as client:
        chosen = _in_state(StateType.PENDING)
        return bool(client.read_flow_runs(flow_run_filter=chosen, work_pool_filter=pool, limit=1))


def _pool_paused(client: SyncPrefectClient) -> bool | None:
    try:
        return client.read_work_pool(WORK_POOL).is_paused
    except ObjectNotFound:
        return None


def _workers(client: SyncPrefectClient) -> tuple[ServedWorker, ...]:
    def page(offset: int) -> list[Worker]:
        return client.read_workers_for_work_pool(WORK_POOL, limit=_PAGE, offset=offset)

    try:
        found = _all_pages(page)
    except ObjectNotFound:  # the pool
        return ()
    return tuple(
        ServedWorker(
            name=worker.name,
            online=worker.status is WorkerStatus.ONLINE,
            last_heartbeat=worker.last_heartbeat_time,
        )
        for worker in found
    )


def _deployments(client: SyncPrefectClient) -> tuple[ServedDeployment, ...]:
    found = _all_pages(lambda offset: client.read_deployments(limit=_PAGE, offset=offset))
    return tuple(
        ServedDeployment(
            name=deployment.name,
            paused=deployment.paused,
            schedules=tuple(
                ServedSchedule(when=_when(schedule.schedule), on=schedule.active) for schedule in deployment.schedules
            ),
        )
        for deployment in sorted(found, key=lambda deployment: deployment.name)
        if deployment.work_pool_name == WORK_POOL
    )


def _when(schedule: object) -> str:
    match schedule:
        case IntervalSchedule():
            return f"every {_duration(schedule.interval)}"
        case CronSchedule():
            return f"cron {schedule.cron} {schedule.timezone or 'UTC'}"
        case _:
            return "by its recurrence rule"


def _duration(interval: timedelta) -> str:
    for unit, seconds in (("h", 3600), ("min", 60)):
        if interval.total_seconds() % seconds == 0:
            return f"{interval.total_seconds() / seconds:g} {unit}"
    return f"{interval.total_seconds():g} s"


def _in_state(*types: StateType) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))


def _named(state: str) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[state])))


def _ended(*types: StateType, hours: float, names: list[str] | None = None) -> FlowRunFilter:
    since: Any = datetime.now(UTC) - timedelta(hours=hours)  # Prefect's own kind of time takes it
    return FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))),
        end_time=FlowRunFilterEndTime(after_=since),
        name=None if names is None else FlowRunFilterName(any_=names),
    )


def _runs(client: SyncPrefectClient, chosen: FlowRunFilter) -> list[FlowRun]:
    """Runs, the first due first."""
    sort = FlowRunSort.EXPECTED_START_TIME_ASC
    return _all_pages(
        lambda offset: client.read_flow_runs(flow_run_filter=chosen, sort=sort, limit=_PAGE, offset=offset)
    )


def _all_pages(read: Callable[[int], list[Any]]) -> list[Any]:
    found: list[Any] = []
    while page := read(len(found)):
        found += page
        if len(page) < _PAGE:
            break
    return found


def _time_of(run: FlowRun) -> datetime:
    """When it ended, began or is due: what is known, in this order."""
    known = run.end_time or run.start_time or run.expected_start_time
    assert known is not None, "a run has a time that it is due"
    return known


def _told(runs: list[FlowRun]) -> tuple[ServedRun, ...]:
    return tuple(
        ServedRun(
            id=str(run.id),
            name=run.name,
            state=run.state_name or "",
            since=_time_of(run),
            message=(run.state.message or "") if run.state is not None else "",
        )
        for run in runs
    )
