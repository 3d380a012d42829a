"""Bootstrap at a server whose database an older Linewise and an older Prefect left behind.

`prefect_3_8_8.sqlite.xz` was made by running, not by hand, at commit 8880ea9 with Prefect 3.8.8 on an empty home:

1. `prefect server start`, then `python -m flows.bootstrap`.
2. What a user does in the UI, through the client: score-folder got other parameters, another tag, and its schedule
   every seven hours and switched on; adapt-new-lines was paused; adapt-line's concurrency limit went from 2 to 5;
   score-plant got a second schedule, Mondays at 05:30 in Berlin, switched on; score-folder was copied as score-lids,
   with parameters and a description of its own and no schedule.
3. The server stopped; the tables `events` and `event_resources` emptied, `VACUUM`, `xz -9e`.
"""

from __future__ import annotations

import lzma
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from flows.server.work_pool import RUNS_AT_ONCE, WORK_POOL
from tests.end_to_end.prefect_plant import run_bootstrap, running_server

pytestmark = [pytest.mark.server, pytest.mark.end_to_end, pytest.mark.timeout(600)]

DATABASE = Path(__file__).with_name("prefect_3_8_8.sqlite.xz")
OF_THE_CODE = {"entrypoint", "parameter_openapi_schema", "pull_steps"}
OF_THE_SERVER = {"updated", "last_polled", "work_queue_id"}

Deployments = dict[str, DeploymentResponse]


def of_the_code(deployments: Deployments) -> dict[str, Any]:
    return {name: found.model_dump(mode="json", include=OF_THE_CODE) for name, found in deployments.items()}


def of_the_user(deployments: Deployments) -> dict[str, Any]:
    other = OF_THE_CODE | OF_THE_SERVER
    return {name: found.model_dump(mode="json", exclude=other) for name, found in deployments.items()}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[dict[str, str], SyncPrefectClient]]:
    """The environment of a server on a copy of the old database, and its client."""
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").write_bytes(lzma.decompress(DATABASE.read_bytes()))
    with (
        running_server(tmp_path, PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="2") as environment,
        SyncPrefectClient(api=environment["PREFECT_API_URL"]) as client,
    ):
        yield environment, client


def test_an_older_servers_deployments_follow_the_code_and_keep_what_a_user_changed(server, tmp_path):
    environment, client = server

    def deployments() -> Deployments:
        return {deployment.name: deployment for deployment in client.read_deployments()}

    before = deployments()
    assert client.read_work_pool(WORK_POOL).concurrency_limit is None
    said = run_bootstrap(tmp_path, environment)
    after = deployments()
    assert client.read_work_pool(WORK_POOL).concurrency_limit == RUNS_AT_ONCE
    client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=3))  # a user's

    packaged = yaml.safe_load((files("deploy") / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    entrypoints = {deployment["name"]: deployment["entrypoint"] for deployment in packaged}
    entrypoints["score-lids"] = entrypoints["score-folder"]  # the copy
    assert {name: after[name].entrypoint for name in before} == {name: entrypoints[name] for name in before}
    listed = said.partition("renewed: ")[2].partition(".")[0]
    assert set(listed.split(", ")) == set(before)  # each was in the one queue there was

    kept = of_the_user(before)
    for name in ("adapt-new-lines", "score-plant"):  # whose runs that would wait were cancelled
        assert kept[name]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        kept[name]["concurrency_options"]["collision_strategy"] = "ENQUEUE"
    queues = {deployment["name"]: deployment["work_pool"]["work_queue_name"] for deployment in packaged}
    queues["score-lids"] = queues["score-folder"]
    for name, user in kept.items():
        assert user["work_queue_name"] == "default"
        user["work_queue_name"] = queues[name]
    assert kept == {name: user for name, user in of_the_user(after).items() if name in before}
    score, lids = after["score-folder"], after["score-lids"]
    assert score.parameters == {"request": {"line": "bottling/caps", "images": "/plant/camera7", "workers": 2}}
    assert score.tags == ["linewise", "hall 3"]
    (schedule,) = score.schedules
    assert isinstance(schedule.schedule, IntervalSchedule)
    assert (schedule.active, schedule.schedule.interval) == (True, timedelta(hours=7))
    assert (lids.parameters, lids.description, lids.schedules) == (
        {"request": {"line": "bottling/lids", "images": "/plant/camera8"}},
        "Of the lids",
        [],
    )
    assert [name for name, deployment in after.items() if deployment.paused] == ["adapt-new-lines"]
    limit = after["adapt-line"].global_concurrency_limit
    assert limit is not None
    assert limit.limit == 5
    added = [schedule for schedule in after["score-plant"].schedules if schedule.slug is None]
    assert [(schedule.schedule, schedule.active) for schedule in added] == [
        (CronSchedule(cron="30 5 * * 1", timezone="Europe/Berlin"), True)
    ]

    deadline = time.monotonic() + 60
    while not [run for run in client.read_flow_runs(limit=200) if run.deployment_id == score.id]:
        assert time.monotonic() < deadline, "the scheduler makes no run of the renewed deployment"
        time.sleep(0.5)

    again = run_bootstrap(tmp_path, environment)
    assert client.read_work_pool(WORK_POOL).concurrency_limit == 3
    assert "registered: none, all were there; renewed: none." in again
    assert {name: found.updated for name, found in deployments().items()} == {
        name: found.updated for name, found in after.items()
    }

    fresh = run_bootstrap(tmp_path, environment, "--update")  # as `prefect deploy` registers them
    assert "renewed: none." in fresh
    assert of_the_code(deployments()) == of_the_code(after)
