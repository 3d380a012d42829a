"""Which server `linewise up` takes, and at which port."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from flows.plant.chosen_server import (
    ChosenServer,
    choose_server,
    environment_of,
    keep_proxies_off,
    refuse_taken_port,
    server_in_use,
)
from flows.plant.process_identity import find_process
from flows.plant.started_parts import Part, PlantFolder, Started
from pipeline.errors import ConfigError, StorageError
from tests.parts.http_server import serving


class Healthy(BaseHTTPRequestHandler):
    """What a Prefect server says of its health."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlantFolder:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")  # put back at the end
    for name in [name for name in os.environ if name.startswith("PREFECT_") or name.lower() == "http_proxy"]:
        monkeypatch.delenv(name)
    plant = PlantFolder(tmp_path / "home")
    plant.path.mkdir(parents=True)
    return plant


@pytest.fixture
def api() -> Iterator[str]:
    """A Prefect API that somebody else started."""
    with serving(Healthy) as address:
        yield f"http://{address}/api"


def note(folder: PlantFolder, part: Part, api: str, *, runs: bool = True) -> Started:
    process = find_process(os.getpid())
    assert process is not None
    started = Started(
        pid=process.pid,
        began=process.began if runs else "before that",
        since=datetime.now(UTC),
        api=api,
        log=folder.log(part),
        linewise="1.2.3",
    )
    folder.note(part, started)
    return started


def test_the_first_server_is_at_the_port_asked_for_or_4200(folder):
    assert choose_server(folder) == ChosenServer("http://127.0.0.1:4200/api", 4200)
    assert choose_server(folder, 4300) == ChosenServer("http://127.0.0.1:4300/api", 4300)


def test_a_server_that_died_comes_back_at_its_port(folder):
    note(folder, Part.SERVER, "http://127.0.0.1:4300/api", runs=False)
    assert choose_server(folder).port == 4300
    assert choose_server(folder, 4400).port == 4400


def test_a_server_that_runs_keeps_its_port(folder, monkeypatch):
    note(folder, Part.SERVER, "http://127.0.0.1:4300/api")
    assert choose_server(folder, 4300) == choose_server(folder)
    monkeypatch.setenv("PREFECT_API_URL", "http://localhost:4300/api")
    assert choose_server(folder) == ChosenServer("http://127.0.0.1:4300/api", 4300)
    with pytest.raises(ConfigError, match=r"one server of the plant, which runs at .*:4300/api, got --port 4400: run"):
        choose_server(folder, 4400)
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    with pytest.raises(ConfigError, match=r":4300/api, got PREFECT_API_URL=http://prefect.example/api: run"):
        choose_server(folder)


def test_a_server_elsewhere_is_used(folder, monkeypatch, api):
    monkeypatch.setenv("PREFECT_API_URL", "https://user:secret@prefect.example/api")
    there = choose_server(folder)
    assert (there.port, there.ui) == (None, "https://prefect.example")
    monkeypatch.setenv("PREFECT_API_URL", api)
    assert choose_server(folder) == ChosenServer(api, None)
    with pytest.raises(ConfigError, match="a server that is used as it is: leave out --port or unset it"):
        choose_server(folder, 4300)


def test_an_address_of_this_machine_where_nobody_answers_is_where_the_server_is_started(folder, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://localhost:9/api")
    assert choose_server(folder) == ChosenServer("http://127.0.0.1:9/api", 9)


def test_a_worker_for_a_server_elsewhere_stays_with_it(folder):
    note(folder, Part.WORKER, "https://prefect.example/api")
    there = ChosenServer("https://prefect.example/api", None)
    assert choose_server(folder) == there == server_in_use(folder)


def test_no_server_is_in_use_before_one_was_started_or_named(folder, monkeypatch):
    assert server_in_use(folder) is None
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    assert server_in_use(folder) == ChosenServer("https://prefect.example/api", None)


def test_a_taken_port_is_one_sentence(api):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} of 127.0.0.1 .*, got another program that listens there"):
            refuse_taken_port(port)
    refuse_taken_port(port)
    with pytest.raises(ConfigError, match=f"a Prefect server there that .* or set PREFECT_API_URL={api} to use"):
        refuse_taken_port(int(api.split(":")[2].partition("/")[0]))


def test_the_environment_keeps_the_server_on_this_machine_and_in_the_home(folder, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_HOST", "0.0.0.0")
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED", "events")
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "user:secret")
    variables = environment_of(choose_server(folder, 4300), folder)
    assert variables == {
        "PREFECT_API_URL": "http://127.0.0.1:4300/api",
        "PREFECT_API_AUTH_STRING": "user:secret",
        "PREFECT_HOME": str(folder.path / "prefect"),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": "4300",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "DO_NOT_TRACK": "1",
        "LINEWISE_HOME": str(folder.path.parent),
    }
    monkeypatch.delenv("PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED")
    again = environment_of(choose_server(folder, 4300), folder)
    assert again["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"] == "events,flow_runs"
    assert set(environment_of(ChosenServer("https://prefect.example/api", None), folder)) == {
        "PREFECT_API_URL",
        "DO_NOT_TRACK",
        "LINEWISE_HOME",
    }


def test_proxies_of_others_stay_as_they_are(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "plant.example,localhost")
    monkeypatch.setenv("no_proxy", "")
    keep_proxies_off()
    keep_proxies_off()
    assert os.environ["NO_PROXY"] == "plant.example,localhost,127.0.0.1"
    assert os.environ["no_proxy"] == "127.0.0.1,localhost"


def test_a_record_that_is_none_is_one_sentence(folder):
    assert folder.started(Part.WORKER) is None
    started = note(folder, Part.WORKER, "http://127.0.0.1:4300/api")
    assert folder.running(Part.WORKER) == started == folder.started(Part.WORKER)
    (folder.path / "worker.json").write_text("{}")
    with pytest.raises(StorageError, match=r"worker.json, got something else: end the worker yourself if it runs"):
        folder.started(Part.WORKER)


def test_another_up_or_down_at_work_is_one_sentence(folder):
    with folder.locked(), pytest.raises(StorageError, match="wait for the other linewise command to end"):
        folder.locked().__enter__()
