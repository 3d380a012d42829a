"""Shards that somebody cancels, and those whose run has ended: nothing is started again, what is done is kept."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import TerminationSignal
from prefect.flow_engine import run_flow
from prefect.states import Cancelled, Cancelling, Running

from deploy.results.store import ResultStore
from flows.activities import SHARD_DEPLOYMENT
from flows.score import shards_flow
from flows.score.flow import score_folder
from flows.score.shards_flow import score_on_cluster, score_shard
from pipeline.settings import load_settings
from tests.flows.adapted_home import LINE, score_request


@pytest.fixture
def deployment(prefect_api: None, adapted_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UUID]:
    """Of a shard's run, which no worker takes."""
    monkeypatch.setattr(shards_flow, "_LOOK_SECONDS", 0.1)
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name(SHARD_DEPLOYMENT)
        made = client.create_deployment(flow_id, SHARD_DEPLOYMENT)
        yield made
        client.delete_deployment(made)


def shard_runs(deployment: UUID) -> list[FlowRun]:
    """In the order of their shards."""
    chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=chosen)
    return sorted(found, key=lambda run: run.parameters["request"]["shard"])


def states(deployment: UUID) -> list[str | None]:
    return [run.state_name for run in shard_runs(deployment)]


def task_states(name: str) -> list[str | None]:
    """Of the tasks whose names begin so, of all runs."""
    with get_client(sync_client=True) as client:
        return [task.state_name for task in client.read_task_runs() if task.name.startswith(name)]


def once_there_are_two(deployment: UUID, act: Callable[[FlowRun, FlowRun], None]) -> threading.Thread:
    """Do something with the runs of two shards, from another thread."""

    def look_on() -> None:
        deadline = time.monotonic() + 30
        while len(found := shard_runs(deployment)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        act(*found)

    onlooker = threading.Thread(target=look_on)
    onlooker.start()
    return onlooker


def scored() -> int:
    with ResultStore(load_settings().database) as store:
        return len(store.query(line=LINE, limit=None))


def test_a_cancelled_shard_is_not_started_again_and_its_run_ends_as_cancelled(
    deployment: UUID, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(line / "test", tmp_path / "camera")

    def cancel_one(first: FlowRun, second: FlowRun) -> None:
        assert first.parameters["request"]["images"] == str(tmp_path / "camera")
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(first.id, Cancelling())
        run_flow(score_shard, flow_run=second, parameters=None, return_type="state")

    onlooker = once_there_are_two(deployment, cancel_one)
    state = score_folder(score_request(line, images="~/camera"), shards=2, return_state=True)
    onlooker.join()
    assert states(deployment) == ["Cancelled", "Completed"]
    assert (state.name, state.message) == (
        "Cancelled",
        "1 of 2 shards cancelled. What was scored is kept, and a new run goes on.",
    )
    assert 0 < scored() < 10
    assert sorted(name or "" for name in task_states("shard ")) == ["Cancelled", "Completed"], "it shows as what it is"


def test_a_share_on_a_cluster_ends_as_cancelled_with_the_run_that_it_is_done_for(
    prefect_api: None, adapted_home: Path, line: Path
):
    @flow
    def is_cancelled_meanwhile() -> State:
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(context.flow_run.id, Cancelling())
        states.append(score_on_cluster(score_request(line, shard="1/2"), return_state=True))
        return states[0]

    states: list[State] = []
    is_cancelled_meanwhile(return_state=True)
    assert (states[0].name, scored()) == ("Cancelled", 0)
    assert str(states[0].message).endswith("which this is done for, has ended.")


def test_shards_are_cancelled_with_a_run_that_is_ended(deployment: UUID, line: Path):
    def end_it(first: FlowRun, _second: FlowRun) -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(first.id, Running())
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 30
        while states(deployment)[0] != "Cancelling" and time.monotonic() < deadline:
            time.sleep(0.1)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(first.id, Cancelled())  # as its worker does, once it has ended the process

    onlooker = once_there_are_two(deployment, end_it)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Prefect sends itself another one at its end
    with pytest.raises(TerminationSignal):
        score_folder(score_request(line), shards=2)
    signal.signal(signal.SIGTERM, before)
    onlooker.join()
    assert states(deployment) == ["Cancelled", "Cancelled"]


def test_a_shard_ends_once_the_run_that_it_is_done_for_is_gone(deployment: UUID, line: Path):
    @flow
    def asks_and_ends() -> FlowRun:
        request = score_request(line, shard="1/2").model_dump(mode="json")
        return run_deployment(f"{SHARD_DEPLOYMENT}/{SHARD_DEPLOYMENT}", parameters={"request": request}, timeout=0)  # type: ignore[return-value]

    state = run_flow(score_shard, flow_run=asks_and_ends(), parameters=None, return_type="state")
    assert isinstance(state, State)
    assert state.is_cancelled()
    assert str(state.message).endswith("which this is done for, has ended.")
