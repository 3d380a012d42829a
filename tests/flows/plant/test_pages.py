"""The review page as a part of the plant, a real process of it: up, again, died, down; and where it cannot start."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra `pages` is not installed")

from flows.plant import pages, up
from flows.plant.down import bring_down
from flows.plant.pages import refuse_taken_pages_port
from flows.plant.process_identity import find_process
from flows.plant.started_parts import Part, PlantFolder, Started
from flows.plant.status import plant_status
from pipeline.errors import ConfigError
from pipeline.settings import load_settings
from tests.end_to_end.prefect_plant import free_port
from tests.parts.plant import write_plant

# The page outlives the command that starts it, here the test's own process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlantFolder]:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    write_plant(tmp_path / "home", line="caps")
    folder = PlantFolder(tmp_path / "home")
    folder.path.mkdir()
    yield folder
    bring_down(load_settings(), say=lambda _: None)


def test_it_comes_up_once_is_told_of_comes_up_again_and_goes_down(folder: PlantFolder) -> None:
    said: list[str] = []
    port = free_port()
    started, new = up._pages(folder, port, said.append)
    assert started is not None
    assert (new, started.api, said) == (True, f"http://127.0.0.1:{port}", ["Starting the review page"])
    assert up._pages(folder, None, said.append) == (started, False), "a second one changes nothing"
    assert up._pages(folder, port, said.append) == (started, False)
    (state,) = plant_status(load_settings()).parts
    assert (state.part, state.runs, state.answers) == (Part.PAGES, True, True)

    assert up._pages(folder, free_port(), said.append) == (None, False)
    assert f"one review page, which runs at port {port}, got --review-port" in said[-1]

    started.process.send(signal.SIGKILL)
    wait_until_ended(started)
    wait_until_free(port)
    (problem,) = plant_status(load_settings()).problems
    assert problem.startswith(f"The review page (process {started.pid}) has ended although nobody stopped it")
    again, new = up._pages(folder, None, said.append)
    assert again is not None, said
    assert (new, again.api) == (True, started.api), "where it was"
    assert bring_down(load_settings(), say=said.append).ended == (Part.PAGES,)
    assert not pages.page_answers(again.api)
    assert plant_status(load_settings()).parts == ()


def test_where_its_port_is_taken_the_plant_does_without_and_says_so(folder: PlantFolder) -> None:
    said: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert up._pages(folder, port, said.append) == (None, False)
    assert said == [
        f"No review page: expected port {port} of 127.0.0.1 for it, got another program that listens there: "
        "name another one with --review-port"
    ]
    assert plant_status(load_settings()).problems == ()


def test_where_its_libraries_are_missing_the_plant_does_without_and_says_so(
    folder: PlantFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "find_spec", lambda name: None if name == "uvicorn" else object())
    said: list[str] = []
    assert up._pages(folder, None, said.append) == (None, False)
    assert said == [
        "No review page: expected the libraries of the review page, got no module uvicorn: "
        "run pip install 'linewise[pages]'"
    ]


def test_what_does_not_start_is_no_part_of_the_plant(folder: PlantFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEWISE_REVIEW_TOKEN", "short")
    said: list[str] = []
    assert up._pages(folder, free_port(), said.append) == (None, False)
    assert "at least 16 characters in LINEWISE_REVIEW_TOKEN" in said[-1]
    assert folder.started(Part.PAGES) is None


def test_a_page_that_others_reach_asks_for_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from deploy.review.serving import serve

    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="which others reach, and no token"):
        serve(load_settings(), host="0.0.0.0", port=free_port(), on_ready=print)
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_the_home_has_an_address_where_a_page_serves_it(
    folder: PlantFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = load_settings().home
    report = home / "reports" / "caps 1" / "20261130-101500-000001" / "report.html"
    address = partial(pages.report_address, report=report)
    assert address(load_settings()) is None, "no page"
    with subprocess.Popen(["sleep", "60"]) as stand_in:
        process = find_process(stand_in.pid)
        assert process is not None
        made = {"since": datetime.now(UTC), "api": "http://127.0.0.1:4291", "log": home, "linewise": "1"}
        folder.note(Part.PAGES, Started(pid=process.pid, began=process.began, **made))
        below = "reports/caps%201/20261130-101500-000001/report.html"
        assert address(load_settings()) == f"http://127.0.0.1:4291/{below}"
        assert pages.report_address(load_settings(), Path("/elsewhere/report.html")) is None
        assert pages.report_address(load_settings(), home / "runs" / "report.html") is None
        stand_in.kill()
    assert address(load_settings()) is None, "the page has ended"
    monkeypatch.setenv("LINEWISE_REVIEW_URL", "https://plant.example/")
    assert address(load_settings()) == f"https://plant.example/{below}"


def wait_until_free(port: int) -> None:
    """Threads of a killed process may hold its port when it has ended itself."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return refuse_taken_pages_port(port)
        except ConfigError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def wait_until_ended(started) -> None:
    deadline = time.monotonic() + 60
    while started.process.runs():
        assert time.monotonic() < deadline
        time.sleep(0.05)
