"""What a Prefect server makes of a machine that dies, and of a worker that was off, with a real server and worker."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import RRuleSchedule

from tests.end_to_end.prefect_plant import run_bootstrap, running_server, started
from tests.parts.plant import write_image, write_plant

pytestmark = [pytest.mark.server, pytest.mark.end_to_end, pytest.mark.timeout(900)]

WORKER = ("worker", "start", "--pool", "linewise", "--type", "process")
LINE = "caps"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str], SyncPrefectClient]]:
    """The folder and environment of a server without a worker, and its client."""
    folder = tmp_path_factory.mktemp("plant")
    write_plant(folder / "home", line=LINE)
    for number in range(2):
        write_image(folder / "images" / LINE / f"{number}.png", brightness=250 - 100 * number)
    with (
        running_server(folder, PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="2") as environment,
        SyncPrefectClient(api=environment["PREFECT_API_URL"]) as client,
    ):
        run_bootstrap(folder, environment)
        yield folder, environment, client


def wait_for(find: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.2)
    pytest.fail(f"nothing after {seconds:.0f} s")


def state_of(client: SyncPrefectClient, run: FlowRun) -> str:
    state = client.read_flow_run(run.id).state
    assert state is not None
    return state.type.value


def ended(client: SyncPrefectClient, run: FlowRun, seconds: float) -> FlowRun:
    def final() -> FlowRun | None:
        found = client.read_flow_run(run.id)
        return found if found.state is not None and found.state.is_final() else None

    return wait_for(final, seconds)


def power_cut(pid: int) -> None:
    """Kill a process and all that it started, parents first: none of them can say a word."""
    listed = [thread.read_text().split() for thread in Path(f"/proc/{pid}/task").glob("*/children")]
    os.kill(pid, signal.SIGKILL)
    for child in itertools.chain(*listed):
        power_cut(int(child))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds a process's children in /proc")
def test_a_machine_that_dies_before_its_run_starts_holds_the_slot_for_two_minutes_at_most(server):
    folder, environment, client = server
    deployment = client.read_deployment_by_name("score-plant/score-plant")
    parameters = {"request": {"images": str(folder / "images"), "device": "cpu", "workers": 1}}
    with (folder / "dies.log").open("wb") as log:
        command = [sys.executable, "-m", "prefect", *WORKER]
        worker = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        dead = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        try:
            wait_for(lambda: state_of(client, dead) == "PENDING", 120)
        finally:
            power_cut(worker.pid)
            worker.wait()
    began = time.monotonic()
    crashed = ended(client, dead, 150)
    assert crashed.state is not None
    assert crashed.state.is_crashed()
    assert crashed.state.message == "Not started 100 seconds after a worker took it: the worker or its machine is gone."
    assert time.monotonic() - began < 120
    with started(folder, environment, "worker", *WORKER):
        after = ended(client, client.create_flow_run_from_deployment(deployment.id, parameters=parameters), 180)
    assert after.state is not None
    assert after.state.is_completed(), after.state.message


def test_after_a_time_without_a_worker_one_run_catches_up(server):
    folder, environment, client = server
    deployment = client.read_deployment_by_name("score-folder/score-folder")
    request = {"line": LINE, "images": str(folder / "images" / LINE), "device": "cpu", "workers": 1}
    client.update_deployment(deployment.id, DeploymentUpdate(parameters={"request": request}))
    first = datetime.now(UTC) + timedelta(seconds=10)
    twelve = RRuleSchedule(rrule=f"DTSTART:{first:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=SECONDLY;INTERVAL=2;COUNT=12")
    client.create_deployment_schedules(deployment.id, [(twelve, True)])

    def late() -> list[FlowRun]:
        runs = [run for run in client.read_flow_runs(limit=200) if run.deployment_id == deployment.id]
        found = [run for run in runs if run.auto_scheduled and run.state_name == "Late"]
        return found if len(found) == 12 else []

    by_hand = client.create_flow_run_from_deployment(
        deployment.id, parameters={"request": request | {"overlays": False}}
    )
    weekend = wait_for(late, 180)
    with started(folder, environment, "worker", *WORKER):
        states = [ended(client, run, 240).state for run in weekend]
        by_hand = ended(client, by_hand, 240)
    names = sorted(state.name for state in states if state is not None)
    assert names.count("Completed") == 1
    assert names.count("Skipped") == len(weekend) - 1
    assert by_hand.state is not None
    assert by_hand.state.is_completed(), by_hand.state.message
