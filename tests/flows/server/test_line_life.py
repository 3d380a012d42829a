"""Gate, tending and roll-back as flows against one real Prefect API: what a list of runs and their artifacts show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

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
from flows.life.request import TendRequest
from flows.roll_back.request import RollBackRequest
from flows.server.automations import DRIFTED_LINES, NEW_LINES, create_line_automations
from tests.flows.adapted_home import LINE, SIZE
from tests.parts.spotted_line import write_spotted_line


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
    (row,) = json.loads(artifacts(state.state_details.flow_run_id)["tended-lines"].data)
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


def test_line_automations_are_created_once(prefect_api) -> None:
    with get_client(sync_client=True) as client:
        code = bootstrap.packaged_code()["tend-plant"]
        flow_id = client.create_flow_from_name("tend-plant")
        deployment = client.create_deployment(flow_id, "tend-plant", **code)
        try:
            for _ in range(2):
                create_line_automations(client, deployment)
            for name in (NEW_LINES, DRIFTED_LINES):
                (automation,) = client.read_automations_by_name(name)
                assert automation.actions[0].deployment_id == deployment
                client.delete_automation(automation.id)
        finally:
            client.delete_deployment(deployment)


def test_an_automation_of_before_is_made_anew_unless_somebody_switched_it_off(prefect_api) -> None:
    former = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": ["linewise.line.*"]}),
        expect={"linewise.drift"},
        posture=Posture.Reactive,
        threshold=1,
    )
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow_from_name("tend-plant"), "tend-plant")
        try:
            for enabled in (True, False):
                action = RunDeployment(source="selected", deployment_id=deployment, parameters=None, job_variables=None)
                Automation(name=DRIFTED_LINES, trigger=former, actions=[action], enabled=enabled).create()
                (before,) = client.read_automations_by_name(DRIFTED_LINES)
                create_line_automations(client, deployment)
                (now,) = client.read_automations_by_name(DRIFTED_LINES)
                assert (now.id == before.id, now.enabled) == (not enabled, enabled)
                client.delete_automation(now.id)
        finally:
            for automation in client.read_automations_by_name(NEW_LINES):
                client.delete_automation(automation.id)
            client.delete_deployment(deployment)
