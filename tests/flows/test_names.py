"""Names that stand in two places."""

from __future__ import annotations

import pytest

prefect = pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from flows.activities import ACTIVITIES, DEPLOYMENTS, SHARD_DEPLOYMENT, TEND_LINE_DEPLOYMENT, load  # noqa: E402
from flows.asking.learner_names import LearnerName  # noqa: E402
from flows.asking.request import Request  # noqa: E402
from model_zoo.learner_table import LEARNERS  # noqa: E402
from tests.checkout import REPOSITORY  # noqa: E402

FLOW_OF = {activity.deployment: activity.flow for activity in ACTIVITIES if activity.flow is not None}
FLOW_OF[SHARD_DEPLOYMENT] = "flows.score.shards_flow:score_shard"
FLOW_OF[TEND_LINE_DEPLOYMENT] = "flows.life.line_flow:tend_line"


def test_learner_names_are_those_of_the_table():
    assert {name.value for name in LearnerName} == set(LEARNERS)


def test_deployments_are_those_of_the_file():
    import yaml
    from prefect.flows import load_flow_from_entrypoint

    path = REPOSITORY / "deploy" / "prefect.yaml"
    content = yaml.safe_load(path.read_text())
    assert tuple(deployment["name"] for deployment in content["deployments"]) == DEPLOYMENTS
    for deployment in content["deployments"]:
        loaded = load_flow_from_entrypoint(deployment["entrypoint"])
        assert loaded.name == deployment["name"]
        assert deployment["entrypoint"] == FLOW_OF[deployment["name"]].replace(":", ".")
        of_another = deployment["name"] == TEND_LINE_DEPLOYMENT  # its request is tend-plant's
        assert ("request" in loaded.parameters.properties) is not of_another
        assert all(not schedule["active"] for schedule in deployment["schedules"])
        for parameters in [deployment.get("parameters", {})]:
            if parameters:
                loaded.validate_parameters(parameters)


def test_every_activity_has_what_the_table_says():
    for activity in ACTIVITIES:
        assert callable(load(activity.job))
        assert callable(load(activity.show))
        assert issubclass(activity.request_class, Request)
        if activity.flow is not None:
            flow = load(activity.flow)
            assert isinstance(flow, prefect.Flow)
            assert flow.name == activity.deployment


@pytest.mark.parametrize("name", ["docker/compose.yaml", "kubernetes/linewise.yaml"])
def test_manifests_parse(name):
    import yaml

    documents = list(yaml.safe_load_all((REPOSITORY / "deploy" / name).read_text()))
    assert all(isinstance(document, dict) for document in documents)
