"""The pool's queues: a run of a line's scoring is handed out before one that may take the night."""

from __future__ import annotations

from importlib.resources import files

import pytest
import yaml

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate

from flows.server.work_pool import QUEUES, RUNS_AT_ONCE, WORK_POOL, create_work_pool, queue_by_priority


def packaged_queues() -> dict[str, str]:
    content = yaml.safe_load((files("deploy") / "prefect.yaml").read_text(encoding="utf-8"))
    return {deployment["name"]: deployment["work_pool"]["work_queue_name"] for deployment in content["deployments"]}


def test_every_deployment_has_a_queue_of_its_urgency():
    queues = packaged_queues()
    assert set(queues.values()) == set(QUEUES)
    for queue, some in {
        "production": (
            "score-folder",
            "score-plant",
            "score-shard",
            "roll-back",
            "roll-back-meta-model",
            "watch-drift",
        ),
        "lines": ("adapt-line", "gate-line", "tend-plant", "tend-line"),
        "background": ("meta-train", "meta-train-plant", "evaluate", "housekeeping"),
    }.items():
        assert {queues[name] for name in some} == {queue}


def test_what_waits_is_handed_out_by_priority_and_what_a_user_set_stays(prefect_api: None):
    with get_client(sync_client=True) as client:
        create_work_pool(client)
        made = {queue.name: queue for queue in client.read_work_queues(work_pool_name=WORK_POOL)}
        priorities = [made[name].priority for name in QUEUES]
        assert priorities == sorted(set(priorities))
        assert made["default"].priority > priorities[0]
        client.update_work_queue(made["background"].id, concurrency_limit=3)
        create_work_pool(client)
        (background,) = [q for q in client.read_work_queues(work_pool_name=WORK_POOL) if q.name == "background"]
        assert background.concurrency_limit == 3

        flow_id = client.create_flow_from_name("waits")
        for queue in reversed(QUEUES):  # the least urgent is there first
            deployment = client.create_deployment(flow_id, queue, work_pool_name=WORK_POOL, work_queue_name=queue)
            client.create_flow_run_from_deployment(deployment)
        handed_out = []
        for limit in range(1, 4):
            client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=limit))
            runs = client.get_scheduled_flow_runs_for_work_pool(WORK_POOL)
            handed_out.append({client.read_deployment(run.flow_run.deployment_id).name for run in runs})
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=RUNS_AT_ONCE))
        assert handed_out == [set(QUEUES[:count]) for count in (1, 2, 3)]


def test_a_deployment_of_before_gets_its_queue_and_a_users_choice_stays(prefect_api: None):
    with get_client(sync_client=True) as client:
        create_work_pool(client)
        flow_id = client.create_flow_from_name("meta-train")
        for queue, moved in (
            ("default", {"work_pool_name": WORK_POOL, "work_queue_name": "background"}),
            ("lines", {}),
        ):
            made = client.create_deployment(flow_id, "copy", work_pool_name=WORK_POOL, work_queue_name=queue)
            assert queue_by_priority(client.read_deployment(made), "meta-train") == moved
