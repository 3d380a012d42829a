"""What a Prefect server makes of a machine that dies, and of a worker that was off, with a real server and worker."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

import prefect
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import RRuleSchedule
from prefect.events.schemas.events import Event, RelatedResource, Resource
from prefect.states import Running

from flows.server.automations import SILENT_RUNS, UNSTARTED_RUNS
from flows.server.heartbeats import SILENCE
from tests.end_to_end.prefect_plant import run_bootstrap, running_server, started
from tests.parts.plant import write_image, write_plant

pytestmark = [pytest.mark.server, pytest.mark.end_to_end, pytest.mark.timeout(900)]

WORKER = ("worker", "start", "--pool", "linewise", "--type", "process")
LINE = "caps"
WEEKEND = 4  # runs that a schedule makes in it
# What is due asks for its slot as often as in a plant: more often, a server on SQLite cannot write so much on a busy
# machine, answers 503, and the worker reports the run as crashed.
PACE = {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5", "PREFECT_WORKER_QUERY_SECONDS": "5"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str], SyncPrefectClient]]:
    """The folder and environment of a server without a worker, and its client."""
    folder = tmp_path_factory.mktemp("plant")
    write_plant(folder / "home", line=LINE)
    for number in range(2):
        write_image(folder / "images" / LINE / f"{number}.png", brightness=250 - 100 * number)
    with (
        running_server(folder, **PACE) as environment,
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


def wait_only(client: SyncPrefectClient, automation: str, seconds: float) -> None:
    """Change how long an automation waits, as a user may."""
    for found in client.read_automations_by_name(automation):
        changed = found.model_dump(mode="json", exclude={"id", "owner_resource"})
        changed["trigger"]["within"] = seconds
        client.request("PUT", "/automations/{id}", path_params={"id": found.id}, json=changed)


def running(client: SyncPrefectClient, flow: str) -> FlowRun:
    """A run that nobody does, of which the server had one heartbeat as Prefect's engine sends it."""

    @prefect.flow(name=flow)
    def of_that_name() -> None: ...

    run = client.create_flow_run(of_that_name, state=Running())
    related = {"prefect.resource.role": "flow", "prefect.resource.id": f"prefect.flow.{run.flow_id}"}
    heartbeat = Event(
        event="prefect.flow-run.heartbeat",
        resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run.id}"}),
        related=[RelatedResource({**related, "prefect.resource.name": flow})],
    )
    client.request("POST", "/events", json=[heartbeat.model_dump(mode="json")])
    return run


def test_a_run_without_heartbeats_is_crashed_if_it_is_ours(server):
    _, _, client = server
    wait_only(client, SILENT_RUNS, 10)  # the least that Prefect takes
    others, ours = running(client, "flow-of-others"), running(client, "score-shards")
    crashed = ended(client, ours, 60)
    time.sleep(2)
    wait_only(client, SILENT_RUNS, SILENCE.total_seconds())
    assert crashed.state is not None
    assert (crashed.state.type.value, crashed.state.message) == (
        "CRASHED",
        "No heartbeat for 90 seconds: the engine is gone.",
    )
    assert state_of(client, others) == "RUNNING"


def power_cut(pid: int) -> None:
    """Kill a process and all that it started, parents first: none of them can say a word."""
    listed = [thread.read_text().split() for thread in Path(f"/proc/{pid}/task").glob("*/children")]
    os.kill(pid, signal.SIGKILL)
    for child in itertools.chain(*listed):
        power_cut(int(child))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds a process's children in /proc")
def test_a_machine_that_dies_before_its_run_starts_holds_the_slot_for_a_stated_time_and_cancels_nothing(server):
    folder, environment, client = server
    wait_only(client, UNSTARTED_RUNS, 100)  # five minutes are long for a test
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
    with started(folder, environment, "worker", *WORKER):
        time.sleep(30)
        asked = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        crashed = ended(client, dead, 150)
        assert time.monotonic() - began < 120
        asked = ended(client, asked, 120)
    assert crashed.state is not None
    assert crashed.state.is_crashed()
    assert (
        crashed.state.message == "Not started five minutes after a worker took it: the worker or its machine is gone."
    )
    assert asked.state is not None
    assert asked.state.is_completed(), asked.state.message


def test_after_a_time_without_a_worker_one_run_of_each_schedule_catches_up(server):
    folder, environment, client = server
    (folder / "home" / "incoming").mkdir()
    common = {"device": "cpu", "workers": 1}
    requests = {
        "score-folder": {"line": LINE, "images": str(folder / "images" / LINE), **common},
        "score-plant": {"images": str(folder / "images"), **common},
        "adapt-new-lines": {},
    }
    names: dict[UUID, str] = {}
    by_hand: list[FlowRun] = []
    for name, request in requests.items():
        deployment = client.read_deployment_by_name(f"{name}/{name}")
        names[deployment.id] = name
        client.update_deployment(deployment.id, DeploymentUpdate(parameters={"request": request}))
        by_hand.append(client.create_flow_run_from_deployment(deployment.id))
        first = datetime.now(UTC) + timedelta(seconds=10)
        six = RRuleSchedule(rrule=f"DTSTART:{first:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=SECONDLY;INTERVAL=2;COUNT={WEEKEND}")
        client.create_deployment_schedules(deployment.id, [(six, True)])

    def late() -> list[FlowRun]:
        found = [run for run in client.read_flow_runs(limit=200) if run.auto_scheduled and run.state_name == "Late"]
        return found if len(found) == WEEKEND * len(names) else []

    weekend = wait_for(late, 180)
    with started(folder, environment, "worker", *WORKER):
        caught_up = [ended(client, run, 300) for run in weekend]
        by_hand = [ended(client, run, 300) for run in by_hand]
    became = Counter((names[run.deployment_id], run.state_name) for run in caught_up if run.deployment_id is not None)
    failed = [run.state for run in [*caught_up, *by_hand] if run.state_name not in {"Skipped", "Completed"}]
    assert not failed, failed
    # The one by hand may run first, and then takes what all of the schedule would have taken.
    for name in names.values():
        assert became[name, "Skipped"] in {WEEKEND - 1, WEEKEND}, became
        assert became[name, "Skipped"] + became[name, "Completed"] == WEEKEND, became
    assert [run.state_name for run in by_hand] == ["Completed"] * len(names)
