"""Names that stand in two places."""

from __future__ import annotations

from importlib import import_module

import pytest

prefect = pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from deploy.engine.devices import Device  # noqa: E402
from flows import bootstrap  # noqa: E402
from flows.asking.learner_names import LearnerName  # noqa: E402
from flows.terminal.console import FLOWS  # noqa: E402
from model_zoo.learner_table import LEARNERS  # noqa: E402
from pipeline.settings import DeviceName  # noqa: E402
from tests.checkout import REPOSITORY  # noqa: E402


def test_learner_names_are_those_of_the_table():
    assert {name.value for name in LearnerName} == set(LEARNERS)


def test_device_names_are_those_of_the_runtime():
    assert {name.value for name in DeviceName} == {device.value for device in Device}


def test_deployments_are_those_of_the_file():
    import yaml
    from prefect.flows import load_flow_from_entrypoint

    path = REPOSITORY / "deploy" / "prefect.yaml"
    content = yaml.safe_load(path.read_text())
    assert tuple(deployment["name"] for deployment in content["deployments"]) == bootstrap.DEPLOYMENTS
    for deployment in content["deployments"]:
        loaded = load_flow_from_entrypoint(deployment["entrypoint"])
        assert loaded.name == deployment["name"]
        assert "request" in loaded.parameters.properties
        assert all(not schedule["active"] for schedule in deployment["schedules"])
        for parameters in [deployment.get("parameters", {})]:
            if parameters:
                loaded.validate_parameters(parameters)


def test_every_command_finds_its_flow():
    for entry in FLOWS.values():
        module, function = entry.split(":")
        assert isinstance(getattr(import_module(f"flows.{module}"), function), prefect.Flow)


@pytest.mark.parametrize("name", ["docker/compose.yaml", "kubernetes/linewise.yaml"])
def test_manifests_parse(name):
    import yaml

    documents = list(yaml.safe_load_all((REPOSITORY / "deploy" / name).read_text()))
    assert all(isinstance(document, dict) for document in documents)
