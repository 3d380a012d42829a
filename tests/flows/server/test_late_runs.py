"""What waits behind a run that goes on: one of what the schedule made, and all that somebody asked for."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.flow_engine import run_flow
from prefect.states import AwaitingConcurrencySlot, Pending

from flows.score.plant_flow import score_plant
from flows.server import late_runs
from tests.parts.plant import write_image, write_plant

LINE = "caps"


@pytest.fixture
def asked(tmp_path, monkeypatch) -> dict[str, Any]:
    """The parameters of a run that watches a plant."""
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LINEWISE_DATABASE_URL", raising=False)
    write_plant(tmp_path / "home", line=LINE)
    write_image(tmp_path / "images" / LINE / "0.png", brightness=250)
    return {"request": {"images": str(tmp_path / "images"), "watch": True, "device": "cpu", "workers": 1}}


@pytest.fixture
def deployment(prefect_api, asked) -> Iterator[UUID]:
    """Of score-plant, with a schedule for the same parameters and one for others."""
    hourly = IntervalSchedule(interval=timedelta(hours=1))
    others = {"request": asked["request"] | {"watch": False}}
    schedules = [DeploymentScheduleCreate(schedule=hourly, parameters=parameters) for parameters in (asked, others)]
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("score-plant")
        made = client.create_deployment(
            flow_id, "waiting", entrypoint="flows.score.plant_flow.score_plant", schedules=schedules
        )
        yield made
        client.delete_deployment(made)


def runs_of(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    return client.read_flow_runs(flow_run_filter=chosen, limit=200)


def make_wait(client: SyncPrefectClient, deployment: UUID, asked: dict[str, Any], day: int) -> None:
    """Three runs of each schedule and two that somebody asked for wait, as the server lets them behind a run."""
    start = datetime.now(UTC) + timedelta(days=day)
    body = {"start_time": start.isoformat(), "min_runs": 3, "max_runs": 3}
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment}, json=body)
    for _ in range(2):
        client.create_flow_run_from_deployment(deployment, parameters=asked)
    for run in runs_of(client, deployment):
        if run.state_name == "Scheduled":
            client.set_flow_run_state(run.id, AwaitingConcurrencySlot())


def states(client: SyncPrefectClient, deployment: UUID) -> Counter[str]:
    """How many runs are in which state, by who made them."""
    made_by = {True: "its schedule", False: "another schedule"}
    return Counter(
        f"{run.state_name}: {made_by[run.parameters['request']['watch']] if run.auto_scheduled else 'somebody'}"
        for run in runs_of(client, deployment)
    )


def test_behind_a_run_that_watches_one_of_each_schedule_waits_and_all_that_was_asked_for(
    deployment, asked, monkeypatch
):
    monkeypatch.setattr(late_runs, "_AGAIN_SECONDS", 1.0)
    at_the_start = {"Skipped: its schedule": 3, "Skipped: another schedule": 2}
    an_hour_later = {"Skipped: its schedule": 5, "Skipped: another schedule": 5}
    seen: list[Counter[str]] = []
    ended = threading.Event()

    def look_on() -> None:
        """Let as many wait again once the run began, and end it once those are skipped."""
        with get_client(sync_client=True) as client:
            for skipped in (at_the_start, an_hour_later):
                deadline = time.monotonic() + 30
                while not skipped.items() <= states(client, deployment).items() and time.monotonic() < deadline:
                    time.sleep(0.2)
                if skipped is at_the_start:
                    make_wait(client, deployment, asked, day=2)
            time.sleep(2.0)  # that nothing more is skipped
            seen.append(states(client, deployment))
        if not ended.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    with get_client(sync_client=True) as client:
        watching = client.create_flow_run_from_deployment(deployment, parameters=asked)
        client.set_flow_run_state(watching.id, Pending())
        make_wait(client, deployment, asked, day=1)
    onlooker = threading.Thread(target=look_on)
    onlooker.start()
    state = run_flow(score_plant, flow_run=watching, parameters=None, return_type="state")
    ended.set()
    onlooker.join()
    assert isinstance(state, State)
    assert state.is_completed()
    waiting = "AwaitingConcurrencySlot"
    assert seen == [
        {
            "Running: somebody": 1,
            **an_hour_later,
            f"{waiting}: its schedule": 1,
            f"{waiting}: another schedule": 1,
            f"{waiting}: somebody": 4,
        }
    ]
