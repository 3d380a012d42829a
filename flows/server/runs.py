"""What every flow shares: tags by line, a failure told in one sentence, retries that help, the GPU's queue."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from prefect import get_client, tags
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext
from prefect.exceptions import CancelledRun, ObjectNotFound, ParameterTypeError
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Failed
from prefect.tasks import Task

from flows.asking.request import Request
from flows.server.heartbeats import beat_as_awaited
from pipeline.errors import ConfigError, LinewiseError, StorageError
from pipeline.settings import Device
from pipeline.storage import plain_storage_error

GPU_LIMIT = "linewise-gpu"
"""Name of the global concurrency limit that queues runs before a GPU; `flows.bootstrap` creates it."""


def _without_traceback(record: logging.LogRecord) -> bool:
    """Prefect logs a task's exception with its traceback; a user's mistake has said all in its sentence."""
    if record.exc_info and isinstance(record.exc_info[1], LinewiseError):
        record.exc_info = None
    return True


class _SentenceOnce(logging.Filter):
    """Prefect logs the exception that a worker's flow ends with: of a user's mistake, in its form too, what it says."""

    _last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is not the last mistake again."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, LinewiseError | ParameterTypeError):
            if str(error) == self._last:
                return False
            record.msg, record.args, record.exc_info = "%s", (error,), None
        if record.levelno >= logging.ERROR:
            self._last = record.getMessage()
        return True


logging.getLogger("prefect.task_runs").addFilter(_without_traceback)
logging.getLogger("prefect.flow_runs").addFilter(_SentenceOnce())
logging.getLogger("prefect.engine").addFilter(_SentenceOnce())
beat_as_awaited()

P = ParamSpec("P")
R = TypeVar("R")


def retried_on_storage_trouble(*delays: float) -> dict[str, Any]:
    """Options of a task that tries again after so many seconds each time, where another try can help; it keeps no
    result.
    """
    return {
        "retries": len(delays),
        "retry_delay_seconds": list(delays),
        "retry_condition_fn": storage_trouble,
        "persist_result": False,
    }


def fails_with_a_sentence(body: Callable[P, R]) -> Callable[P, R]:
    """A flow body whose `LinewiseError`, or trouble with a path, becomes the run's state message, word for word, and
    whose `CancelledRun` its end as cancelled.

    Everything else is our own bug or the machine's trouble and keeps Prefect's message. Called outside a flow run
    (through `.fn`), the error is raised as it is. Not for tasks: there Prefect hands a returned state on as the result.
    """

    @functools.wraps(body)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _refuse_relative_paths(*args, *kwargs.values())
            return body(*args, **kwargs)
        except (LinewiseError, OSError) as error:
            sentence = error if isinstance(error, LinewiseError) else plain_storage_error(error)
            if sentence is None or FlowRunContext.get() is None:
                raise
            get_run_logger().error("%s", sentence)
            return Failed(message=str(sentence), data=sentence)  # type: ignore[return-value]  # Prefect takes a state as the result
        except CancelledRun as cancelled:
            if FlowRunContext.get() is None:
                raise
            return Cancelled(message=str(cancelled))  # type: ignore[return-value]  # as above

    # Prefect builds the form from the signature, and cannot evaluate a wrapped function's string annotations itself.
    vars(told)["__signature__"] = inspect.signature(body, eval_str=True)
    return told


def _refuse_relative_paths(*parameters: object) -> None:
    """A worker's run has another folder than whoever asked for it: see that its request does not depend on it.

    Raises:
        ConfigError: it does.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return
    for parameter in parameters:
        if isinstance(parameter, Request):
            parameter.refuse_relative_paths()


@contextmanager
def tagged(*names: str) -> Iterator[None]:
    """Tag this flow run, and the task runs within, so that the UI filters by line."""
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        wanted = sorted({*context.flow_run.tags, *names})
        with get_client(sync_client=True) as client:
            client.update_flow_run(context.flow_run.id, tags=wanted)
    with tags(*names):
        yield


def storage_trouble(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth another try: a share that went away comes back, a user's mistake does not."""
    error = state.data if isinstance(state.data, BaseException) else state.result(raise_on_failure=False)
    if isinstance(error, StorageError):
        return True
    return isinstance(error, OSError) and not isinstance(error, LinewiseError)


@contextmanager
def queued_for_gpu(device: Device, places: int = 1) -> Iterator[None]:
    """Wait for so many free places in `GPU_LIMIT` when `device` is a GPU; a CPU run does not wait.

    Args:
        device: cpu, cuda or tensorrt: what the run will take, so never auto.
        places: one for each GPU that it takes.

    Raises:
        ConfigError: the limit does not exist on this server, or has fewer places.
    """
    assert device is not Device.AUTO, "whether it waits is known before it does"
    if device is Device.CPU or FlowRunContext.get() is None:
        yield
        return
    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(GPU_LIMIT).limit
        except ObjectNotFound as missing:
            raise ConfigError(
                f"the global concurrency limit {GPU_LIMIT!r} on the Prefect server",
                "none of that name",
                f"run `python -m flows.bootstrap`, or `prefect gcl create {GPU_LIMIT} --limit 1`",
            ) from missing
    if places > limit:  # it would wait for ever
        raise ConfigError(
            f"a global concurrency limit {GPU_LIMIT!r} of at least {places}, one for each process",
            str(limit),
            f"run `prefect gcl update {GPU_LIMIT} --limit {places}` where there are as many GPUs",
        )
    with concurrency(GPU_LIMIT, occupy=places, strict=True):
        yield
