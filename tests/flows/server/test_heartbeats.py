"""Our runs have heartbeats as often as the server awaits them, and only ours are crashed without."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect import Flow
from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

import flows
from flows.server.automations import SILENT_RUNS, UNSTARTED_RUNS, create_automations
from flows.server.heartbeats import FLOWS, SILENCE
from tests.checkout import REPOSITORY

SAID = """
import prefect
from flows.export.flow import export
from prefect.settings import get_current_settings
print(get_current_settings().flows.heartbeat_frequency)
"""


@pytest.mark.parametrize("configured", [None, "180"])
def test_a_script_that_read_prefects_settings_first_has_them_too(tmp_path: Path, configured: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    environment |= {} if configured is None else {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": configured}
    done = subprocess.run([sys.executable, "-c", SAID], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["30"]


def test_every_flow_is_named() -> None:
    modules = [found.name for found in walk_packages(flows.__path__, "flows.") if found.name.endswith("flow")]
    found = {one.name for module in modules for one in vars(import_module(module)).values() if isinstance(one, Flow)}
    assert found == set(FLOWS)


def test_the_automation_of_before_which_crashed_runs_of_any_flow_is_made_anew(prefect_api: None) -> None:
    former = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", "prefect.flow-run.Completed"},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    )
    with get_client(sync_client=True) as client:
        try:
            Automation(name=SILENT_RUNS, trigger=former, actions=[]).create()
            for _ in range(2):
                create_automations(client, "linewise")
                (automation,) = client.read_automations_by_name(SILENT_RUNS)
                assert isinstance(automation.trigger, EventTrigger)
                assert automation.trigger.match_related == ResourceSpecification(
                    {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
                )
        finally:
            for name in (SILENT_RUNS, UNSTARTED_RUNS):
                for found in client.read_automations_by_name(name):
                    client.delete_automation(found.id)
