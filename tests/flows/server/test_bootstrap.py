"""`python -m flows.bootstrap` at servers that answer, refuse or are not there.

`tests/end_to_end` has the server that an older version left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule

from flows import bootstrap
from pipeline.errors import ConfigError
from tests.checkout import REPOSITORY
from tests.parts.http_server import serving


def run_bootstrap(api: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PREFECT_API_URL": api, "PREFECT_CLIENT_MAX_RETRIES": "0", **variables}
    command = [sys.executable, "-m", "flows.bootstrap", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


class Refusing(BaseHTTPRequestHandler):
    """A server that takes nobody's login, and is healthy from its `unhealthy`th answer on."""

    unhealthy = 0

    def do_GET(self) -> None:
        health = self.path.endswith("/health")
        if starting := health and type(self).unhealthy > 0:
            type(self).unhealthy -= 1
        self.send_response(503 if starting else 200 if health else 401)
        self.end_headers()
        self.wfile.write(b"true")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_bootstrap_without_a_server_waits_and_ends_in_one_sentence():
    done = run_bootstrap("http://127.0.0.1:9/api", "--wait", "2")
    assert done.returncode == 2
    waiting, sentence = done.stderr.splitlines()
    assert waiting == "Waiting up to 2 s for the Prefect server to answer."
    assert sentence.startswith("expected a Prefect API that answers at http://127.0.0.1:9/api, got '")
    assert sentence.endswith("': start the server, or correct or unset PREFECT_API_URL")


def test_bootstrap_waits_for_a_server_that_has_just_been_started(monkeypatch):
    monkeypatch.setattr(Refusing, "unhealthy", 3)
    with serving(Refusing) as address:
        done = run_bootstrap(f"http://{address}/api")
    waiting, sentence = done.stderr.splitlines()
    assert waiting == "Waiting up to 60 s for the Prefect server to answer."
    assert sentence.startswith("expected a Prefect server that lets Linewise register, got '"), "it went on"


def test_bootstrap_does_not_wait_for_what_no_server_can_mend():
    done = run_bootstrap("http://127.0.0.1:9/api", HTTP_PROXY="http://proxy.invalid:3128")
    assert done.returncode == 2
    assert done.stderr == (
        "expected 127.0.0.1, this machine itself, without a proxy, got one in HTTP_PROXY: set NO_PROXY=127.0.0.1\n"
    )


def test_bootstrap_that_a_server_refuses_is_one_sentence():
    with serving(Refusing) as address:
        done = run_bootstrap(f"http://{address}/api")
    assert done.returncode == 2
    assert done.stderr.startswith("expected a Prefect server that lets Linewise register, got '")
    assert "401" in done.stderr
    assert done.stderr.endswith("': set PREFECT_API_AUTH_STRING as the server has it, or look into its log\n")


def test_deployments_that_cannot_be_registered_are_an_error_with_prefects_words(prefect_api, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # what `prefect deploy` is told: nobody answers
    with get_client(sync_client=True) as client, pytest.raises(ConfigError) as caught:
        bootstrap.register_deployments(client, update=True)
    assert str(caught.value).startswith("expected every deployment to register, got ")
    assert "ConnectError: All connection attempts failed" in str(caught.value)
    assert str(caught.value).endswith(": check PREFECT_API_URL and the server's log")


@pytest.fixture
def older_deployments(prefect_api) -> Iterator[Callable[..., DeploymentResponse]]:
    """Registers deployments with what an older Linewise might have said of them."""
    with get_client(sync_client=True) as client:
        made: list[UUID] = []

        def register(name: str, flow: str = "export", **changes: Any) -> DeploymentResponse:
            packaged = bootstrap.packaged_code()[flow]
            flow_id = client.create_flow_from_name(flow)
            made.append(client.create_deployment(flow_id, name, **(packaged | changes)))
            return client.read_deployment(made[-1])

        yield register
        for deployment_id in made:
            client.delete_deployment(deployment_id)


def older_form(*properties: str) -> dict[str, Any]:
    """The form of an ExportRequest that had other fields."""
    request = {"type": "object", "additionalProperties": False, "properties": {name: {} for name in properties}}
    form = {"type": "object", "properties": {"request": {"$ref": "#/definitions/ExportRequest"}}}
    return form | {"definitions": {"ExportRequest": request}}


@pytest.mark.parametrize(
    "older",
    [
        {"entrypoint": "flows.former.export"},
        {"parameter_openapi_schema": older_form("line")},
        {"pull_steps": []},
    ],
    ids=lambda older: next(iter(older)),
)
def test_what_follows_the_code_is_renewed_and_nothing_else(older_deployments, older):
    kept = {"parameters": {"request": {"line": "caps"}}, "paused": True, "tags": ["hall 3"], "concurrency_limit": 5}
    schedule = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(hours=7)), active=True)
    before = older_deployments("export", description="Ours", schedules=[schedule], **older, **kept)
    current = older_deployments("export of hall 4")
    with get_client(sync_client=True) as client:
        assert bootstrap.renew_deployments(client) == ["export"]
        after, untouched = client.read_deployment(before.id), client.read_deployment(current.id)
        assert bootstrap.renew_deployments(client) == []
    code = {name: getattr(current, name) for name in ("entrypoint", "parameter_openapi_schema", "pull_steps")}
    assert {name: getattr(after, name) for name in code} == code
    assert after.model_dump(exclude={*code, "updated"}) == before.model_dump(exclude={*code, "updated"})
    assert untouched == current


def test_a_copy_is_renewed_and_a_deployment_of_other_code_is_not(older_deployments):
    older_deployments("export for hall 3", entrypoint="flows.former.export")
    theirs = older_deployments("theirs", entrypoint="their_package.export", parameter_openapi_schema={})
    with get_client(sync_client=True) as client:
        assert bootstrap.renew_deployments(client) == ["export for hall 3"]
        assert client.read_deployment(theirs.id) == theirs


@pytest.mark.parametrize(("flow", "strategy"), [("score-plant", "ENQUEUE"), ("export", "CANCEL_NEW")])
def test_runs_that_an_older_linewise_had_cancelled_wait_and_a_users_choice_stays(older_deployments, flow, strategy):
    cancelling = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW, grace_period_seconds=120)
    before = older_deployments("cancelling", flow, concurrency_limit=3, concurrency_options=cancelling)
    with get_client(sync_client=True) as client:
        assert bootstrap.renew_deployments(client) == (["cancelling"] if strategy == "ENQUEUE" else [])
        after = client.read_deployment(before.id)
    assert before.concurrency_options is not None
    assert before.global_concurrency_limit is not None
    waiting = before.concurrency_options.model_copy(update={"collision_strategy": ConcurrencyLimitStrategy(strategy)})
    assert after.concurrency_options == waiting
    assert after.global_concurrency_limit is not None
    assert after.global_concurrency_limit.limit == 3


def test_parameters_that_the_new_form_refuses_are_named_and_do_not_stop_the_others(older_deployments, capsys):
    former = {"request": {"line": "caps", "former": 1}}
    form = older_form("line", "former")
    kept = older_deployments("a former", parameters=former, parameter_openapi_schema=form)
    older_deployments("b", entrypoint="flows.former.export")
    with get_client(sync_client=True) as client:
        assert bootstrap.renew_deployments(client) == ["b"]
        assert client.read_deployment(kept.id) == kept
    said = capsys.readouterr().err
    assert said.startswith("expected parameters of the deployment 'a former' that its flow takes, got '")
    assert "'former' was unexpected" in said
    assert said.endswith("': change them in the UI, then run this again\n")
    assert said.count("\n") == 1
