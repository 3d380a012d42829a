"""A line's life on a real Prefect server and worker: an event has it adapted, a roll-back is a run and an event."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from deploy.bundles.registry import Registry
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.life.line_notes import read_note, tending
from flows.score import job as score
from flows.score.request import ScoreRequest
from flows.server.line_events import POLICY_LABEL
from pipeline.settings import Device, load_settings
from tests.end_to_end.prefect_plant import Plant, running_plant
from tests.parts.spotted_line import SIZE, write_spotted_line

pytestmark = [pytest.mark.server, pytest.mark.end_to_end, pytest.mark.timeout(1200)]

LINE = "caps"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with running_plant(tmp_path_factory.mktemp("plant")) as plant:
        yield plant


def test_an_event_of_a_new_line_has_it_adapted_and_a_form_rolls_it_back(plant: Plant, tmp_path: Path) -> None:
    from prefect.client.schemas.actions import DeploymentUpdate

    write_spotted_line(tmp_path / "plant" / LINE, good=4, test_good=4, defects=2)
    write_spotted_line(tmp_path / "plant" / "corks", good=4)
    request = {"folder": str(tmp_path / "plant"), "size": SIZE, "quiet_seconds": 0}
    tending = plant.deployment("tend-line")
    plant.client.update_deployment(plant.deployment("tend-plant").id, DeploymentUpdate(parameters={"request": request}))
    emit(plant, "linewise.line.appeared")
    run = plant.ended(plant.wait_for(lambda: next(iter(runs_of(plant, tending.id)), None)).id)
    assert (run.state.name, run.parameters["line"]) == ("Completed", f"linewise.line.{LINE}"), run.state.message
    assert f"line:{LINE}" in run.tags
    registry = Registry(plant.home)
    assert registry.lines() == [LINE], "no other line of the folder is touched"
    first = registry.live_version(LINE)

    emit(plant, "linewise.drift", policy="tell")
    emit(plant, "linewise.drift", policy="re-adapt")
    drifted = plant.wait_for(
        lambda: next((one for one in runs_of(plant, tending.id) if one.parameters.get("drifted")), None)
    )
    assert plant.ended(drifted.id).state.name == "Completed"
    assert len(runs_of(plant, tending.id)) == 2, "where a person is to be told, no run starts"

    again = AdaptRequest(line=LINE, images=tmp_path / "plant" / LINE, size=SIZE, good=3)
    adapt.run(again, load_settings(plant.home))
    assert registry.live_version(LINE) != first
    back = {"line": LINE, "why": "misses scratches", "by": "Ada"}
    rolled = plant.client.create_flow_run_from_deployment(
        plant.deployment("roll-back").id, parameters={"request": back}
    )
    assert plant.ended(rolled.id).state.name == "Completed"
    assert registry.live_version(LINE) == first
    told = {"linewise.line.appeared", "linewise.line.promoted", "linewise.line.rolled-back"}
    plant.wait_for(lambda: told <= events(plant) or None, seconds=60)


def test_a_line_whose_images_still_come_keeps_no_other_waiting_and_none_is_adapted_to_twice(
    plant: Plant, tmp_path: Path
) -> None:
    """The slow line's run waits until its folder is quiet; the other line's two events find it running, or done."""
    from prefect.client.schemas.actions import DeploymentUpdate

    slow, other = "slow line", "other line"
    for seed, line in enumerate((slow, other)):
        write_spotted_line(tmp_path / "plant" / line, good=4, test_good=4, defects=2, seed=seed)
    request = {"folder": str(tmp_path / "plant"), "size": SIZE, "quiet_seconds": 30}
    plant.client.update_deployment(plant.deployment("tend-plant").id, DeploymentUpdate(parameters={"request": request}))
    tending, registry = plant.deployment("tend-line"), Registry(plant.home)

    def runs(line: str) -> list[Any]:
        return [run for run in runs_of(plant, tending.id) if run.parameters["line"] == f"linewise.line.{line}"]

    with images_still_coming(tmp_path / "plant" / slow):
        emit(plant, "linewise.line.appeared", line=slow)
        plant.wait_for(lambda: [run for run in runs(slow) if run.state.is_running()] or None)
        for _ in range(2):
            emit(plant, "linewise.line.appeared", line=other)
        plant.wait_for(lambda: True if len(runs(other)) == 2 else None)
        assert {plant.ended(run.id).state.name for run in runs(other)} <= {"Completed", "Skipped"}
        assert len(registry.versions(other)) == 1
        assert [run.state.name for run in runs(slow)] == ["Running"], "and nobody waited for it"
    assert plant.ended(runs(slow)[0].id).state.name == "Completed"
    assert len(registry.versions(slow)) == 1


@pytest.mark.skipif(not Path("/proc/locks").is_file(), reason="finds a lock's holder in /proc")
def test_a_killed_adaptation_is_a_crashed_run_and_the_next_run_of_the_plant_takes_the_line_up(
    plant: Plant, tmp_path: Path
) -> None:
    """The engine dies in the middle of an adaptation that an event of drift asked for."""
    from prefect.client.schemas.actions import DeploymentUpdate

    line, folder, settings = "killed line", tmp_path / "plant", load_settings(plant.home)
    write_spotted_line(folder / line, good=4, test_good=4, defects=2)
    adapt.run(AdaptRequest(line=line, images=folder / line, size=SIZE), settings)
    registry = Registry(plant.home)
    first = registry.live_version(line)
    shots = write_spotted_line(tmp_path / "shots", good=6, seed=5) / "train" / "good"
    score.run(ScoreRequest(line=line, images=str(shots), device=Device.CPU, workers=1), settings)
    asked = {"folder": str(folder), "size": SIZE, "quiet_seconds": 0, "least_production": 1}
    plant.client.update_deployment(plant.deployment("tend-plant").id, DeploymentUpdate(parameters={"request": asked}))
    of_lines = plant.deployment("tend-line").id
    before = {run.id for run in runs_of(plant, of_lines)}
    emit(plant, "linewise.drift", line=line, policy="re-adapt")
    run = plant.wait_for(lambda: next((run for run in runs_of(plant, of_lines) if run.id not in before), None))
    adapting = f"adapt {line}"
    while not any(one.name == adapting and one.state.is_running() for one in plant.client.read_flow_runs(limit=20)):
        assert not plant.client.read_flow_run(run.id).state.is_final(), "it ended before it could be killed"
        time.sleep(0.1)
    kill_with_children(holder_of(settings.line_folder("tending", line) / "lock"))

    state = plant.ended(run.id).state
    assert state.is_crashed(), (state.name, state.message)
    with tending(settings, line) as free:
        assert free
    assert ([record.version for record in registry.versions(line)], registry.live_version(line)) == ([first], first)
    note = read_note(settings, line)
    assert note is not None
    assert not note.ended, "so that the next look adapts, whether it hears of the drift or not"
    taken_up = plant.asked("tend-plant", asked)
    assert taken_up.state.name in ("Completed", "Held"), taken_up.state.message
    assert "the last adaptation did not end" in plant.artifact("tended-lines", taken_up.id).data
    assert len(registry.versions(line)) == 2
    note = read_note(settings, line)
    assert note is not None
    assert note.ended


def holder_of(lock: Path) -> int:
    """The process that holds it."""
    inode = lock.stat().st_ino
    held = (entry.split() for entry in Path("/proc/locks").read_text().splitlines() if "->" not in entry)
    return next(int(entry[4]) for entry in held if int(entry[5].split(":")[-1]) == inode)


def kill_with_children(pid: int) -> None:
    """Parents first: none of them can say a word."""
    children = [thread.read_text().split() for thread in Path(f"/proc/{pid}/task").glob("*/children")]
    os.kill(pid, signal.SIGKILL)
    for child in itertools.chain(*children):
        kill_with_children(int(child))


@contextmanager
def images_still_coming(line: Path) -> Iterator[None]:
    """One of the line's images changes every second in the body."""
    path, stop = next((line / "train" / "good").iterdir()), threading.Event()

    def write() -> None:
        while not stop.wait(1.0):
            path.touch()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        yield
    finally:
        stop.set()
        writing.join()


def emit(plant: Plant, event: str, *, line: str = LINE, **payload: Any) -> None:
    """Send an event of a line, as whoever watches it does."""
    content = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": {"prefect.resource.id": f"linewise.line.{line}", POLICY_LABEL: str(payload.get("policy"))},
        "payload": payload,
    }
    body = json.dumps([content]).encode()
    asked = Request(f"{plant.ui}/api/events", data=body, headers={"Content-Type": "application/json"})
    with urlopen(asked, timeout=30) as answer:
        assert answer.status == 204


def runs_of(plant: Plant, deployment_id: Any) -> list[Any]:
    return [run for run in plant.client.read_flow_runs(limit=50) if run.deployment_id == deployment_id]


def events(plant: Plant) -> set[str]:
    """Names of the line's events that the server knows."""
    from prefect.events.filters import EventFilter, EventResourceFilter

    chosen = EventFilter(resource=EventResourceFilter(id=[f"linewise.line.{LINE}"]))
    found = plant.client.request("POST", "/events/filter", json={"filter": chosen.model_dump(mode="json")})
    return {event["event"] for event in found.json()["events"]}
