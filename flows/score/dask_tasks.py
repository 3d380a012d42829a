"""Shards as Dask's tasks. Dask cannot end one that has begun: it only no longer asks for it, and so the shard looks.

It is so at once where somebody cancels the task, and where the run that asked for it ends, its machine is gone, or the
scheduler is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx
from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Crashed

from flows.progress import OnProgress, Progress, ignore_progress
from flows.server.child_runs import ending_with_parents
from flows.server.left_task_runs import crash_task_run

_LOST = "Dask lost it, or somebody cancelled its task there."
_ENDS = ("closing", "closed", "failed")  # a worker whose scheduler is gone, or that was told to end


class NotAskedForError(Exception):
    """Dask no longer asks for the task that this is done in."""

    def __init__(self) -> None:
        super().__init__("Dask no longer asks for this shard: its task was cancelled, or who asked for it is gone.")


def ending_with_dask_task() -> OnProgress:
    """An `OnProgress` that raises once Dask no longer asks for the task that it was made in; elsewhere nothing happens.

    It raises `CancelledRun` where the run that the task is done for has ended, else `NotAskedForError`.
    """
    try:
        from distributed import get_worker  # noqa: PLC0415  # an extra, and seconds of imports

        worker: Any = get_worker()
        key = worker.get_current_task()
    except (ImportError, ValueError, KeyError):  # no Dask, no task of it, or a thread that a task began
        return ignore_progress

    def look(progress: Progress) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled" or worker.status.name in _ENDS:
            ending_with_parents()(progress)
            raise NotAskedForError

    return look


def crash_lost_shards(futures: Sequence[PrefectFuture[Any]]) -> list[State[Any]]:
    """The states of shards that were waited for. Those that have not ended Dask lost, and nobody would end them: they
    are crashed, on the server, too.

    One that goes on in a worker's thread all the same ends by `ending_with_dask_task`.
    """
    states = [future.state for future in futures]
    lost = [place for place, state in enumerate(states) if not state.is_final()]
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        for place in lost:  # the server has none of those that had not begun
            crash_task_run(client, futures[place].task_run_id, _LOST)
    return [Crashed(message=_LOST) if place in lost else state for place, state in enumerate(states)]
