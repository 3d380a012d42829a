"""Runs that a run has workers do, and those that they begin in turn: they end with it, also when nobody tells them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import CancelledRun, ObjectNotFound
from prefect.flows import Flow
from prefect.states import Cancelled, Cancelling

from flows.progress import OnProgress, Progress

_ENDED = [StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED, StateType.CANCELLING]
_PAGE = 200  # the server gives no more at once
_LOOK_SECONDS = 30.0


def cancel_child_runs(flow_run: FlowRun) -> None:
    """Cancel what others do for a run that ends; what cannot be told now ends by itself (`ending_with_parents`)."""
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        for child in list(_children(client, flow_run.id)):
            # What has no deployment of its own ran in the process that ended: nobody else would end it.
            end = Cancelled if child.deployment_id is None else Cancelling
            with suppress(ObjectNotFound):  # deleted meanwhile
                client.set_flow_run_state(child.id, end(message=f"The run {flow_run.name} has ended."))


def cancel_what_it_asked_for(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  # Prefect's names
    """A flow's hook for when it is cancelled or crashes, also where its process was killed: `cancel_child_runs`."""
    cancel_child_runs(flow_run)


def _children(client: SyncPrefectClient, run: UUID) -> Iterator[FlowRun]:
    """What has not ended below a run, read page by page. One that has ended may have begun others that have not."""
    below, read = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run])), 0
    while page := client.read_flow_runs(flow_run_filter=below, limit=_PAGE, offset=read):
        for child in page:
            yield from _children(client, child.id)
            if child.state_type not in _ENDED:
                yield child
        read += len(page)


def ending_with_parents() -> OnProgress:
    """An `OnProgress` that raises `CancelledRun` once this run, or one that it is done for, has ended.

    No hook tells of the end of a run whose machine is gone, so every half a minute the server is asked. Outside of a
    run nothing happens.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    line_of_runs: list[UUID] = []
    due = time.monotonic()

    def look(_: Progress) -> None:
        nonlocal due
        if run is None or time.monotonic() < due:
            return
        due = time.monotonic() + _LOOK_SECONDS
        # The server is away, or has not yet noted who began what: there is a next time.
        with suppress(httpx.HTTPError, ObjectNotFound), get_client(sync_client=True) as client:
            line_of_runs[:] = line_of_runs or _with_parents(client, run)
            ended = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    id=FlowRunFilterId(any_=line_of_runs),
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ENDED)),
                )
            )
            if ended:
                raise CancelledRun(f"The run {ended[0].name}, which this is done for, has ended.")

    return look


def _with_parents(client: SyncPrefectClient, run: FlowRun) -> list[UUID]:
    found = [run.id]
    while run.parent_task_run_id is not None:
        begun_by = client.read_task_run(run.parent_task_run_id).flow_run_id
        if begun_by is None:
            break
        run = client.read_flow_run(begun_by)
        found.append(run.id)
    return found
