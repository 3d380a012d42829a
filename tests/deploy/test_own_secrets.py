"""The review page's token, which goes to tablets and into links, opens nothing else in the objects of `deploy/`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tests.checkout import REPOSITORY

TOKEN = "LINEWISE_REVIEW_TOKEN"  # its name


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((REPOSITORY / "deploy" / name).read_text()))


def containers() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for document in documents("kubernetes/linewise.yaml"):
        pod = document["spec"].get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", ()), *pod.get("containers", ())]:
            yield container["name"], container["env"]


def test_compose_asks_for_a_token_of_its_own_and_gives_it_to_the_review_page_alone() -> None:
    (file,) = documents("docker/compose.yaml")
    with_token = {name for name, service in file["services"].items() if TOKEN in str(service)}
    assert with_token == {"review"}
    token = file["services"]["review"]["environment"][TOKEN]
    assert token.startswith(f"${{{TOKEN}:?")  # an unset one is told, and no empty one taken
    assert "16 characters" in token
    assert "LINEWISE_PASSWORD" not in token


def test_kubernetes_has_a_key_of_its_own_for_it_and_gives_it_to_the_review_page_alone() -> None:
    keys: dict[str, set[tuple[str, str]]] = {}
    for container, environment in containers():
        for variable in environment:
            if "valueFrom" in variable:
                key = variable["valueFrom"]["secretKeyRef"]["key"]
                keys.setdefault(key, set()).add((container, variable["name"]))
            else:
                assert variable["name"] != TOKEN, "from the secret, not made of the password"
    assert keys["review-token"] == {("review", TOKEN)}
    assert ("review", TOKEN) not in keys["password"]


def test_the_workers_unit_names_no_review_page_that_may_not_be_installed() -> None:
    unit = (REPOSITORY / "deploy/systemd/linewise-worker.service").read_text().splitlines()
    assert not [line for line in unit if line.startswith("Environment=LINEWISE_REVIEW_URL")]
    assert [line for line in unit if line.startswith("#Environment=LINEWISE_REVIEW_URL=http://127.0.0.1:4290")]
