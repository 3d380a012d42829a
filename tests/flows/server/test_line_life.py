"""Gate, tending and roll-back as flows against one real Prefect API: what a list of runs and their artifacts show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

import flows.adapt.flow
import flows.life.flow
import flows.roll_back.flow
from deploy.bundles.registry import Registry
from flows import bootstrap
from flows.adapt.request import AdaptRequest
from flows.life.job import Outcome
from flows.life.line_flow import tend_line
from flows.life.line_notes import tending
from flows.life.request import TendRequest
from flows.roll_back.request import RollBackRequest
from flows.server.automations import DRIFTED_LINES, NEW_LINES, create_line_automations
from pipeline.settings import load_settings
from tests.flows.adapted_home import LINE, SIZE
from tests.parts.spotted_line import write_spotted_line

Deployments = Callable[..., UUID]


@pytest.fixture
def deployments(prefect_api) -> Iterator[Deployments]:
    """Registers a deployment of a flow, under its name or another; it goes with the test, as do automations."""
    made: list[UUID] = []
    with get_client(sync_client=True) as client:

        def register(flow: str, name: str | None = None, **changes: Any) -> UUID:
            code = bootstrap.packaged_code()[flow]
            made.append(client.create_deployment(client.create_flow_from_name(flow), name or flow, **code, **changes))
            return made[-1]

        yield register
        for automation in (NEW_LINES, DRIFTED_LINES):
            for found in client.read_automations_by_name(automation):
                client.delete_automation(found.id)
        for deployment in made:
            client.delete_deployment(deployment)


def artifacts(run: Any) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        return {found.key: found for found in client.read_artifacts(limit=200) if found.flow_run_id == run}


@pytest.mark.timeout(900)
def test_a_held_version_shows_in_the_list_of_runs_with_its_reason(
    prefect_api, adapted_home: Path, line: Path, tmp_path: Path
) -> None:
    """All of its images are learned, so that the gate has nothing to compare on."""
    good = sorted((line / "train" / "good").iterdir())[:2]
    (tmp_path / "few" / "good").mkdir(parents=True)
    for path in good:
        shutil.copy(path, tmp_path / "few" / "good")
    live = Registry(adapted_home).live_version(LINE)
    request = AdaptRequest(line=LINE, images=tmp_path / "few", size=SIZE, gate=True)
    state = flows.adapt.flow.adapt_line(request, return_state=True)
    result = state.result()
    version = result.bundle.manifest.version
    assert (state.is_completed(), state.name) == (True, "Held")
    assert state.message == (
        f"held: {LINE} {version} is not promoted, as there is no image to compare on that neither version has learned."
    )
    assert Registry(adapted_home).live_version(LINE) == live
    told = str(artifacts(state.state_details.flow_run_id)["gate-line-a-7"].data)
    assert told.startswith("**Held: ")
    assert "there is no image to compare on" in told.splitlines()[0]
    assert "| What was compared | | Live | Candidate |" in told


@pytest.mark.timeout(900)
def test_a_plant_is_tended_line_by_line(prefect_api, home: Path, tmp_path: Path) -> None:
    write_spotted_line(tmp_path / "plant" / "caps", good=4, test_good=8, defects=2)
    (tmp_path / "plant" / "camera 3").mkdir()
    request = TendRequest(folder=tmp_path / "plant", size=SIZE, quiet_seconds=0)
    state = flows.life.flow.tend_plant(request, line="linewise.line.caps", return_state=True)
    assert (state.is_completed(), state.name) == (True, "Completed")
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(state.state_details.flow_run_id).name == "tend caps"
    assert Registry(home).live_version("caps") is not None
    (row,) = json.loads(artifacts(state.state_details.flow_run_id)["tended-caps"].data)
    assert (row["line"], row["outcome"], row["why"]) == ("caps", "promoted", "new, with 4 good images")
    again = flows.life.flow.tend_plant(request, return_state=True).result()
    assert [(line.name, line.outcome) for line in again.lines] == [
        ("camera 3", Outcome.WAITING),
        ("caps", Outcome.WAITING),
    ]


def test_another_policy_than_readaptation_does_nothing(prefect_api, home: Path, tmp_path: Path) -> None:
    request = TendRequest(folder=tmp_path / "nowhere")
    state = flows.life.flow.tend_plant(request, line="linewise.line.caps", policy="tell", return_state=True)
    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert not home.exists()


def test_a_roll_back_without_an_earlier_version_fails_in_one_sentence(prefect_api, adapted_home: Path) -> None:
    state = flows.roll_back.flow.roll_back(RollBackRequest(line=LINE), return_state=True)
    assert state.is_failed()
    assert state.message.startswith(f"expected a version of {LINE} that was live before, got none")


def test_a_run_for_one_line_has_folder_and_settings_of_the_deployment_for_all(
    prefect_api, home: Path, tmp_path: Path, deployments: Deployments
) -> None:
    write_spotted_line(tmp_path / "plant" / "caps", good=4, test_good=8, defects=2)
    write_spotted_line(tmp_path / "plant" / "corks", good=4)
    request = {"folder": str(tmp_path / "plant"), "size": SIZE, "quiet_seconds": 0}
    deployments("tend-plant", parameters={"request": request})
    deployments("tend-plant", "of hall 3", parameters={"request": {"folder": str(tmp_path / "hall 3")}})
    deployments("tend-plant", "of hall 4", parameters={"request": {"folder": "hall 4"}})
    with tending(load_settings(), "caps"):
        state = tend_line("linewise.line.caps", drifted=True, return_state=True)
    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert state.message == "caps: another process adapts it, and looks at it again afterwards."
    state = tend_line("linewise.line.caps", return_state=True)
    assert (state.name, Registry(home).lines()) == ("Completed", ["caps"]), state.message
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
    assert (run.name, "line:caps" in run.tags) == ("tend caps", True)
    (row,) = json.loads(artifacts(run.id)["tended-caps"].data)
    assert (row["line"], row["outcome"], row["why"]) == ("caps", "promoted", "new, with 4 good images")
    for plant, problem in {
        "of hall 3": f"expected a folder with a folder for each line, got no folder {tmp_path / 'hall 3'}",
        "of hall 4": "expected an absolute path for folder, got 'hall 4'",
        "of hall 5": "expected a deployment 'of hall 5' of the flow tend-plant, got none",
    }.items():
        state = tend_line("caps", plant=plant, return_state=True)
        assert state.is_failed()
        assert state.message.startswith(problem)


def test_line_automations_are_created_once_and_run_what_waits_for_no_other_line(
    prefect_api, deployments: Deployments
) -> None:
    tend_plant, one_line = deployments("tend-plant"), deployments("tend-line")
    with get_client(sync_client=True) as client:
        for _ in range(2):
            create_line_automations(client, one_line, tend_plant)
        for name in (NEW_LINES, DRIFTED_LINES):
            (automation,) = client.read_automations_by_name(name)
            assert automation.actions[0].deployment_id == one_line


LINE_OF_EVENT = {"__prefect_kind": "jinja", "template": "{{ event.resource.id }}"}


@pytest.mark.parametrize(
    ("name", "event", "labels", "parameters"),
    [
        (DRIFTED_LINES, "linewise.drift", {}, None),
        (NEW_LINES, "linewise.line.appeared", {}, {"line": LINE_OF_EVENT}),
        (
            DRIFTED_LINES,
            "linewise.drift",
            {"linewise.drift.policy": "re-adapt"},
            {"line": LINE_OF_EVENT, "policy": "re-adapt"},
        ),
    ],
    ids=["any policy", "new lines", "drifted lines"],
)
def test_an_automation_of_before_is_made_anew_unless_somebody_changed_it_or_switched_it_off(
    prefect_api, deployments: Deployments, name: str, event: str, labels: dict[str, str], parameters: Any
) -> None:
    former = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": ["linewise.line.*"], **labels}),
        expect={event},
        posture=Posture.Reactive,
        threshold=1,
    )
    tend_plant, one_line = deployments("tend-plant"), deployments("tend-line")
    changed = {"plant": "of hall 3"} | (parameters or {})
    with get_client(sync_client=True) as client:
        for enabled, asked in ((True, parameters), (False, parameters), (True, changed)):
            stays = not enabled or (asked is changed and bool(parameters))
            action = RunDeployment(source="selected", deployment_id=tend_plant, parameters=asked, job_variables=None)
            Automation(name=name, trigger=former, actions=[action], enabled=enabled).create()
            (before,) = client.read_automations_by_name(name)
            create_line_automations(client, one_line, tend_plant)
            (now,) = client.read_automations_by_name(name)
            assert (now.id == before.id, now.enabled) == (stays, enabled)
            assert now.actions[0].deployment_id == (tend_plant if stays else one_line)
            client.delete_automation(now.id)
