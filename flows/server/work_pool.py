"""The work pool "linewise", its queues by priority, and the limit before the GPU."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.server.runs import GPU_LIMIT

WORK_POOL = "linewise"
RUNS_AT_ONCE = 8
"""Runs of the pool that are handed out at once: as many as the deployments' own limits let run, and no more.

Without it a worker that was off for a weekend submits every late run at once, again and again while they wait for their
deployment's slot, and a server on SQLite cannot write so much: it answers 503, and runs are reported as crashed.
"""
QUEUES = ("production", "lines", "background")
"""Queues of the pool, the first to be emptied first: what scores and what people decide, a line's own learning, and
what may take the night (meta-training, evaluations). `prefect.yaml` says which deployment has which.
"""
_QUEUE_OF_BEFORE = "default"


def create_work_pool(client: SyncPrefectClient) -> None:
    """The pool that `prefect worker start --pool linewise` serves, and its queues by priority.

    One that is there keeps the limit it was given; one without, as an older Linewise made it, is given ours. A queue
    that is there keeps limit and priority.
    """
    try:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process", concurrency_limit=RUNS_AT_ONCE))
    except ObjectAlreadyExists:
        if client.read_work_pool(WORK_POOL).concurrency_limit is None:
            client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=RUNS_AT_ONCE))
    there = {queue.name for queue in client.read_work_queues(work_pool_name=WORK_POOL)}
    for priority, name in enumerate(QUEUES, 1):
        if name not in there:
            client.create_work_queue(name=name, priority=priority, work_pool_name=WORK_POOL)


def create_gpu_queue(client: SyncPrefectClient, places: int = 1) -> None:
    """One run at a time on the GPU; raise the limit in the UI on a machine with more."""
    try:
        client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=places))


def queue_by_priority(deployment: DeploymentResponse, flow_name: str) -> dict[str, Any]:
    """The queue of a flow's deployment, where an older Linewise left it in the pool's only one; another stays.

    Returns:
        The fields to change, for an update.
    """
    if (deployment.work_pool_name, deployment.work_queue_name) != (WORK_POOL, _QUEUE_OF_BEFORE):
        return {}
    queue = _packaged_queues()[flow_name]
    return {"work_pool_name": WORK_POOL, "work_queue_name": queue}  # without the pool it is looked for in another


@cache
def _packaged_queues() -> dict[str, str]:
    """The queue of each deployment of the packaged `prefect.yaml`, and so of the flow of the same name."""
    content = yaml.safe_load((files("deploy") / "prefect.yaml").read_text(encoding="utf-8"))
    return {deployment["name"]: deployment["work_pool"]["work_queue_name"] for deployment in content["deployments"]}
