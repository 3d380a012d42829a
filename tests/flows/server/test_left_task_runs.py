"""Tasks of a process that was killed end once their run has, and give back what they hold; others go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterFlowRunId
from prefect.client.schemas.objects import State, StateType, TaskRun
from prefect.flow_engine import run_flow
from prefect.settings import get_current_settings
from prefect.states import Completed, Crashed, Failed, Running

from flows.housekeeping.flow import housekeeping
from flows.plant.unstarted_runs import crash_tasks_of_ended_runs
from flows.server import left_task_runs
from flows.server.left_task_runs import crash_left_task_runs, crash_task_run
from tests.checkout import REPOSITORY

AT_ONCE = timedelta(0)
TAG = "left-task-runs"
KILLED = f"""
import sys, time
from uuid import UUID
from prefect import flow, get_client, task
from prefect.flow_engine import run_flow

@task(tags=[{TAG!r}])
def sleep():
    print("sleeping", flush=True)
    time.sleep(600)

@flow(name=sys.argv[1])
def sleeping():
    sleep()

with get_client(sync_client=True) as client:
    flow_run = client.read_flow_run(UUID(sys.argv[2]))
run_flow(sleeping, flow_run=flow_run)
"""


@pytest.fixture
def client(prefect_api: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def make_run(client: SyncPrefectClient) -> Iterator[Callable[[str, str], UUID]]:
    """Runs of deployments, by flow and entrypoint."""
    made: list[UUID] = []

    def make(flow: str, entrypoint: str) -> UUID:
        deployment = client.create_deployment(client.create_flow_from_name(flow), flow, entrypoint=entrypoint)
        made.append(deployment)
        return client.create_flow_run_from_deployment(deployment).id

    yield make
    for deployment in made:
        client.delete_deployment(deployment)


def tasks_of(client: SyncPrefectClient, run: UUID) -> list[TaskRun]:
    chosen = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run]))
    return client.read_task_runs(task_run_filter=chosen)


def state_of(client: SyncPrefectClient, run: UUID) -> tuple[StateType | None, str | None]:
    (task,) = tasks_of(client, run)
    return task.state_type, None if task.state is None else task.state.message


def with_task(client: SyncPrefectClient, run: UUID, state: State, task_state: State) -> UUID:
    """A run in a state with a task in one, as a process that died left them."""
    client.set_flow_run_state(run, Running(), force=True)
    body = {
        "flow_run_id": str(run),
        "task_key": "left",
        "dynamic_key": "0",
        "state": {"type": task_state.type.value, "name": task_state.name},
    }
    client.request("POST", "/task_runs/", json=body)
    if not state.is_running():
        client.set_flow_run_state(run, state, force=True)
    return run


def held(client: SyncPrefectClient) -> int:
    return client.read_global_concurrency_limit_by_name(f"tag:{TAG}").active_slots


def test_the_task_of_a_killed_process_is_crashed_and_its_slot_is_free(
    client: SyncPrefectClient, make_run: Callable[[str, str], UUID]
) -> None:
    client.create_concurrency_limit(TAG, 1)
    run = make_run("killed-run", "flows.score.flow.score_folder")
    api = {"PREFECT_API_URL": str(get_current_settings().api.url)}
    command = [sys.executable, "-c", KILLED, "killed-run", str(run)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | api, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "sleeping\n"
        deadline = time.monotonic() + 60
        while not tasks_of(client, run) or state_of(client, run)[0] is not StateType.RUNNING:
            assert time.monotonic() < deadline, "the server never heard that it runs"
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert held(client) == 1
    assert crash_left_task_runs(client, AT_ONCE) == 0, "its run goes on, as far as anybody knows"

    client.set_flow_run_state(run, Crashed(message="No heartbeat for 90 seconds: the engine is gone."))
    assert crash_left_task_runs(client) == 0, "what was told a moment ago may be on its way"
    assert state_of(client, run)[0] is StateType.RUNNING
    assert crash_left_task_runs(client, AT_ONCE) == 1
    assert state_of(client, run) == (
        StateType.CRASHED,
        "The run that it belonged to has ended, and its process is gone.",
    )
    assert held(client) == 0
    assert crash_left_task_runs(client, AT_ONCE) == 0
    client.delete_concurrency_limit_by_tag(TAG)


def test_only_tasks_of_our_runs_that_have_ended_are_crashed(
    client: SyncPrefectClient, make_run: Callable[[str, str], UUID]
) -> None:
    ours = "flows.score.flow.score_folder"
    left = with_task(client, make_run("failed-run", ours), Failed(), Running())
    running = with_task(client, make_run("running-run", ours), Running(), Running())
    ended = with_task(client, make_run("ended-run", ours), Completed(), Completed())
    foreign = with_task(client, make_run("another-teams", "elsewhere/flow.py:run"), Failed(), Running())
    assert crash_left_task_runs(client, AT_ONCE) == 1
    found = {run: state_of(client, run)[0] for run in (left, running, ended, foreign)}
    assert found == {
        left: StateType.CRASHED,
        running: StateType.RUNNING,
        ended: StateType.COMPLETED,
        foreign: StateType.RUNNING,
    }


def test_a_scheduled_flow_and_a_started_worker_sweep(
    client: SyncPrefectClient,
    make_run: Callable[[str, str], UUID],
    monkeypatch: pytest.MonkeyPatch,
    adapted_home: object,
) -> None:
    ours = "flows.score.flow.score_folder"
    monkeypatch.setattr(left_task_runs.crash_left_task_runs, "__defaults__", (AT_ONCE,))
    left = with_task(client, make_run("crashed-run", ours), Crashed(), Running())
    sweeping = make_run("housekeeping", "flows.housekeeping.flow.housekeeping")
    run_flow(housekeeping, flow_run=client.read_flow_run(sweeping), parameters={"request": {}})
    assert state_of(client, left)[0] is StateType.CRASHED
    other = with_task(client, make_run("other-run", ours), Crashed(), Running())
    assert crash_tasks_of_ended_runs() == 1
    assert state_of(client, other)[0] is StateType.CRASHED


def test_a_task_run_that_the_server_does_not_have_is_no_trouble(client: SyncPrefectClient) -> None:
    assert not crash_task_run(client, uuid4(), "gone")
