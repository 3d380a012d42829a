"""What `linewise doctor` checks of an installation: result store, Prefect server, memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from flows.doctor.checks import Verdict
from tests.flows.command import Command
from tests.parts.checks import found
from tests.parts.http_server import serving


def test_a_result_store_that_is_none_is_a_problem(home: Path) -> None:
    home.mkdir()
    (home / "results.sqlite").write_bytes(b"this is no database" * 100)
    check = found("result_store")
    assert check.verdict is Verdict.PROBLEM
    assert "no SQLite database" in check.says


def test_two_packages_that_hold_onnxruntime_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "onnxruntime-1.31.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.31.0\n")
    (other / "top_level.txt").write_text("onnxruntime\n")
    monkeypatch.syspath_prepend(tmp_path)
    check = found("onnxruntime")
    assert check.verdict is Verdict.PROBLEM
    assert check.says == (
        "expected one package that holds onnxruntime, got onnxruntime and onnxruntime-gpu, which overwrite each "
        "other's files: uninstall all of them, then install onnxruntime-gpu"
    )


@contextmanager
def served(body: bytes, status: int = 200) -> Iterator[str]:
    """The address of an HTTP server that always gives this answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield f"http://{address}/api"


@pytest.mark.parametrize(
    ("body", "status", "verdict", "says"),
    [
        (b"true", 200, Verdict.OK, "answers"),  # what Prefect says; test_prefect_server asks a real one
        (b"", 401, Verdict.OK, "asks for a login"),
        (b"", 500, Verdict.PROBLEM, "HTTP status 500"),
        (b"<html>", 200, Verdict.PROBLEM, "not Prefect's"),
        (b"false", 200, Verdict.PROBLEM, "a server that says it is not healthy: start the server"),
    ],
)
def test_a_prefect_server(
    home: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, status: int, verdict: Verdict, says: str
) -> None:
    with served(body, status) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        check = found("prefect")
    assert check.verdict is verdict
    assert says in check.says
    gone = found("prefect")
    assert gone.verdict is Verdict.PROBLEM
    assert f"expected a Prefect API that answers at {url}, got " in gone.says


def test_no_server_and_no_address(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("prefect").verdict is Verdict.SKIPPED
    monkeypatch.setenv("PREFECT_API_URL", "file://me:secret@host/etc")
    check = found("prefect")
    assert check.verdict is Verdict.PROBLEM
    assert "secret" not in check.says


PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a proxy that reaches nothing, as a plant's cannot reach the PC it is asked by."""
    for variable in (*PROXIES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with served(b"<html>not allowed", status=403) as url:
        yield url.removesuffix("/api")


@pytest.mark.parametrize("variable", PROXIES)
def test_a_proxy_before_a_server_of_this_machine_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, variable: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    with served(b"true") as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        check = found("prefect")
        assert check.verdict is Verdict.PROBLEM
        assert check.says == (
            f"expected 127.0.0.1, this machine itself, without a proxy, got one in {variable}: set NO_PROXY=127.0.0.1"
        )
        monkeypatch.setenv("no_proxy", "plant.example")
        assert found("prefect").says.endswith(": add 127.0.0.1 to no_proxy")
        monkeypatch.setenv("no_proxy", "plant.example, 127.0.0.1")
        assert found("prefect").verdict is Verdict.OK


def test_a_proxy_before_another_machines_server_may_be_right(
    home: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("PREFECT_API_URL", "http://server.invalid:4200/api")
    check = found("prefect")
    assert check.verdict is Verdict.PROBLEM
    assert ": start the server, or correct or unset PREFECT_API_URL; HTTP_PROXY sends what is for it to" in check.says
    assert check.says.endswith(": set NO_PROXY=server.invalid where that is wrong")


def test_a_command_that_a_proxy_keeps_from_the_server_says_so(
    linewise: Command, monkeypatch: pytest.MonkeyPatch, proxy: str, tmp_path: Path
) -> None:
    pytest.importorskip("prefect", reason="the extra `flows` is not installed")
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with served(b"true") as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        code, _, error = linewise("export", "caps", tmp_path / "pack")
    assert code == 2
    assert error == (
        "linewise: expected 127.0.0.1, this machine itself, without a proxy, got one in HTTP_PROXY: "
        "set NO_PROXY=127.0.0.1\n"
    )
