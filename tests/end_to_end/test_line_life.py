"""A line's life on a real Prefect server and worker: an event has it adapted, a roll-back is a run and an event."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from flows.server.line_events import POLICY_LABEL
from pipeline.settings import load_settings
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
    tending = plant.deployment("tend-plant")
    plant.client.update_deployment(tending.id, DeploymentUpdate(parameters={"request": request}))
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
        lambda: next((one for one in runs_of(plant, tending.id) if one.parameters.get("policy")), None)
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


def emit(plant: Plant, event: str, **payload: Any) -> None:
    """Send an event of the line, as whoever watches it does."""
    content = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": {"prefect.resource.id": f"linewise.line.{LINE}", POLICY_LABEL: str(payload.get("policy"))},
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
