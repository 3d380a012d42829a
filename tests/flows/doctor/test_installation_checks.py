"""What `linewise doctor` checks of an installation: result store, Prefect server, memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from flows.doctor.checks import Verdict
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
