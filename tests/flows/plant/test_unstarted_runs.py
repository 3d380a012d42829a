"""Runs of dead workers end at once, runs of those that are alive wait on."""

from __future__ import annotations

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.client.orchestration import get_client
from prefect.states import Pending

from flows.bootstrap import WORK_POOL, create_work_pool
from flows.plant.unstarted_runs import crash_unstarted_runs


def test_what_a_dead_worker_took_is_crashed_unless_another_is_alive(prefect_api: None) -> None:
    with get_client(sync_client=True) as client:
        create_work_pool(client)
        flow = client.create_flow_from_name("roll-back")
        deployment = client.create_deployment(flow, "takes-no-run", work_pool_name=WORK_POOL)
        run = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(run.id, Pending())

        def alive(worker: str) -> None:
            path, body = (
                "/work_pools/{work_pool_name}/workers/heartbeat",
                {"name": worker, "heartbeat_interval_seconds": 30},
            )
            client.request("POST", path, path_params={"work_pool_name": WORK_POOL}, json=body)

        alive("ours")
        alive("another")
        assert crash_unstarted_runs("ours") == 0, "it may be the other's, which is alive"
        path = "/work_pools/{work_pool_name}/workers/{name}"
        client.request("DELETE", path, path_params={"work_pool_name": WORK_POOL, "name": "another"})
        assert crash_unstarted_runs("ours") == 1, "the server still takes ours for alive, and we know better"
        state = client.read_flow_run(run.id).state
        assert state is not None
        assert state.is_crashed()
        assert crash_unstarted_runs("ours") == 0
        client.delete_deployment(deployment)
