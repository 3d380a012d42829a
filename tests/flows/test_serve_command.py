"""`linewise serve` as a process: what it refuses to begin with, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from deploy.results.store import ResultStore
from tests.checkout import REPOSITORY
from tests.flows.command import Command
from tests.parts.plant import write_image, write_plant

LINE = "mvtec/pill"


def test_beyond_this_machine_a_token_is_needed(linewise: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LINEWISE_REST_TOKEN", raising=False)
    for host in ("0.0.0.0", "::", "plant7"):  # refused
        code, _, told = linewise("serve", "--host", host, "--port", "0")
        assert (code, f"expected a LINEWISE_REST_TOKEN to listen at {host}, beyond this machine, got none" in told) == (
            2,
            True,
        ), told


def test_what_cannot_be_served_is_one_sentence(linewise: Command, home: Path) -> None:
    write_plant(home)
    code, _, told = linewise("serve", "--lines", f"{LINE},mvtec/screw", "--port", "0", "--device", "cpu")
    assert (code, told.count("\n")) == (2, 1), told
    assert told.startswith("linewise: expected a line of the registry"), told
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, told = linewise("serve", "--port", str(other.getsockname()[1]), "--device", "cpu")
    assert (code, "choose another --port" in told) == (2, True), told


def test_without_the_libraries_the_extra_is_named(linewise: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "deploy.rest.server", raising=False)
    code, _, told = linewise("serve")
    assert (code, "run pip install 'linewise[rest]'" in told) == (2, True), told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    write_plant(home)
    image = write_image(tmp_path / "bright.png", brightness=240)
    command = [sys.executable, "-m", "flows.cli", "serve", "--port", "0", "--device", "cpu", "--record"]
    environment = os.environ | {"LINEWISE_REST_TOKEN": "secret"}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"Serving at http://127\.0\.0\.1:(\d+), running on the CPU, as asked; results are kept", said)
        assert found is not None, said
        with closing(HTTPConnection("127.0.0.1", int(found[1]), timeout=30)) as connection:
            connection.request("POST", f"/lines/{LINE}/score", image.read_bytes())
            assert b"expected the server's token" in connection.getresponse().read()
            token = {"Authorization": "Bearer secret"}
            connection.request("POST", f"/lines/{LINE}/score", image.read_bytes(), token)
            assert b'"decision":"REJECT"' in connection.getresponse().read()
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, rest) == (0, "")
    with ResultStore(home / "results.sqlite") as store:
        assert [(run.line, run.status.value, run.scored) for run in store.runs()] == [(LINE, "finished", 1)]
