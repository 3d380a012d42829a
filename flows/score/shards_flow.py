"""Scoring a folder in shards on several machines: by a Dask cluster, or by the workers of the pool.

A shard is a share of the folder's files, scored into the same store by the same bundle. What scores the whole folder
afterwards finds their results, and scores what a lost machine left: shards make it faster and can lose nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import CancelledRun
from prefect.futures import wait
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Crashed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from deploy.engine.devices import expected_device
from flows.activities import SHARD_DEPLOYMENT
from flows.progress import OnProgress, Progress, ignore_progress
from flows.score import job
from flows.score.dask_tasks import NotAskedForError, crash_lost_shards, ending_with_dask_task
from flows.score.request import ScoreRequest
from flows.server.child_runs import cancel_child_runs, ending_with_parents
from flows.server.runs import fails_with_a_sentence, queued_for_gpu, tagged
from pipeline.errors import ConfigError, UnfinishedError
from pipeline.settings import Settings, load_settings
from pipeline.unicode_names import one_line

_TRIES: dict[str, Any] = {"retries": 2, "retry_delay_seconds": 5, "persist_result": False}
_LOOK_SECONDS = 2.0


@flow(name=SHARD_DEPLOYMENT, flow_run_name="score {request.line}, shard {request.shard}")
@fails_with_a_sentence
def score_shard(request: ScoreRequest) -> int:
    """Wait for the GPU if one is used, and score a share of a folder for a run that scores all of it."""
    with tagged(f"line:{request.line}"):
        return score_share(request)


def score_share(request: ScoreRequest, ending: OnProgress = ignore_progress) -> int:
    """Score a share into the store; how many images were new. Its report is nobody's: the whole folder has one.

    Raises:
        CancelledRun: the run that it is done for has ended; what was scored is kept.
        Exception: what `ending`, which is told of progress, raises to end it.
    """
    with_parents = ending_with_parents()

    def tell(progress: Progress) -> None:
        ending(progress)
        with_parents(progress)

    settings = load_settings()
    with (
        queued_for_gpu(expected_device(request.device, settings)),
        tempfile.TemporaryDirectory(prefix="linewise-shard-") as scratch,
    ):
        outputs = {"report": Path(scratch) / "report.html", "json_path": None, "csv_path": None}
        return job.run(request.model_copy(update=outputs), settings, tell).summary.counts.scored


@task(task_run_name="shard {request.shard}", **_TRIES)
def score_on_cluster(request: ScoreRequest) -> int | State[Any]:
    """Score a share where the task runner runs it. It ends as cancelled with the run that it is done for, as crashed
    where Dask no longer asks for it.
    """
    try:
        return score_share(request, ending_with_dask_task())
    except CancelledRun as ended:  # raised, it would be a failure to Prefect, and tried again
        return Cancelled(message=str(ended))
    except NotAskedForError as left:  # likewise
        return Crashed(message=str(left))


@task(task_run_name="shard {request.shard}", **_TRIES)
def score_by_worker(request: ScoreRequest) -> State[Any] | None:
    """Have a worker of the pool score a share, and wait for it. It ends as cancelled where somebody cancelled the run.

    Raises:
        UnfinishedError: it did not complete.
    """
    run: Any = run_deployment(
        f"{SHARD_DEPLOYMENT}/{SHARD_DEPLOYMENT}",
        parameters={"request": request.model_dump(mode="json")},
        poll_interval=_LOOK_SECONDS,
    )
    if run.state.is_cancelled():
        return Cancelled(message=f"The run {run.name} was cancelled.")
    if not run.state.is_completed():
        got = f"{run.state.name}: {run.state.message or 'no message'}"
        raise UnfinishedError(f"the run {run.name} to complete", got, "look at it", run.state)
    return None


@flow(name="score-shards", flow_run_name="score {request.line} in {shards} shards")
@fails_with_a_sentence
def score_shards(request: ScoreRequest, shards: int, *, on_cluster: bool) -> int:
    """Score every share of a folder at once; how many of them were scored to their end. The others are warned of.

    Raises:
        CancelledRun: somebody cancelled one; the others were scored to their end.
    """
    requests = [request.model_copy(update={"shard": f"{number}/{shards}"}) for number in range(1, shards + 1)]
    score_one: Task[..., Any] = score_on_cluster if on_cluster else score_by_worker
    futures = score_one.map(requests)
    try:
        wait(futures)
    except BaseException:  # who ends this process; its threads would wait for what they asked for
        if (context := FlowRunContext.get()) is not None and context.flow_run is not None:
            cancel_child_runs(context.flow_run)
        raise
    states = crash_lost_shards(futures)
    cancelled = sum(state.is_cancelled() for state in states)
    if cancelled:
        raise CancelledRun(f"{cancelled} of {shards} shards cancelled. What was scored is kept, and a new run goes on.")
    failed = [(one, state) for one, state in zip(requests, states, strict=True) if not state.is_completed()]
    for one, state in failed:
        told = one.shard, one_line(state.message or state.type.value)
        get_run_logger().warning("shard %s was not scored to its end, its images are scored now: %s", *told)
    return shards - len(failed)


def in_shards(request: ScoreRequest, shards: int) -> ScoreRequest:
    """Score a folder in shards; afterwards the request returned scores what is left, with the same bundle.

    Raises:
        ConfigError: the request cannot be taken apart, the line has no live bundle, or Dask is not to be reached.
        CancelledRun: a shard was cancelled: the rest is not scored either.
    """
    settings = load_settings()
    ScoreRequest.asked(**{**dict(request), "shard": f"1/{shards}"})  # says what does not go with shards
    if request.shard is not None or request.watch or not Path(request.images).is_dir():
        got = "a shard, a watched folder or another source"
        raise ConfigError("a whole folder as it is, to be scored in shards", got, "leave shards out")
    if request.bundle is None:  # another version may go live before the last shard begins
        version = job.find_deployment(request, settings).bundle.manifest.version
        request = request.model_copy(update={"version": version})
    runner = _task_runner(settings, shards)
    score_shards.with_options(task_runner=runner)(request, shards, on_cluster=settings.dask_scheduler is not None)
    return request


def _task_runner(settings: Settings, shards: int) -> TaskRunner[Any]:
    if settings.dask_scheduler is None:
        return ThreadPoolTaskRunner(max_workers=shards)  # each thread waits for a worker's run
    try:
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415  # an extra, and seconds of imports
    except ImportError as missing:
        got = f"none to import ({missing})"
        raise ConfigError("prefect-dask, for LINEWISE_DASK_SCHEDULER", got, "pip install 'linewise[dask]'") from missing
    return DaskTaskRunner(address=settings.dask_scheduler)
