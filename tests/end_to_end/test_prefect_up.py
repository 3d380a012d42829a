"""`linewise up`, `status` and `down` as a user types them, with the Prefect server and worker that they start."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.client.orchestration import SyncPrefectClient

from flows.plant.process_identity import find_process, marked_processes
from tests.end_to_end.prefect_plant import free_port
from tests.parts.plant import write_image, write_plant

pytestmark = [pytest.mark.server, pytest.mark.end_to_end, pytest.mark.timeout(1500)]

LINE = "caps"


@dataclass
class Home:
    """A home folder, and the command with it in use."""

    folder: Path
    port: int = field(default_factory=free_port)
    review_port: int = field(default_factory=free_port)

    def linewise(self, *arguments: str, ends: int = 0) -> str:
        """What the command says; it has to end with that code."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "LINEWISE_"))
        }
        environment |= {"LINEWISE_HOME": str(self.folder), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        command = [sys.executable, "-m", "flows.cli", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == ends, self.told(done.stdout + done.stderr)
        return done.stdout

    def told(self, said: str) -> str:
        return said + "".join(f"\n{log}:\n{log.read_text()[-3000:]}" for log in (self.folder / "plant").glob("*.log"))

    def status(self, *, ends: int = 0) -> dict[str, Any]:
        return json.loads(self.linewise("status", "--json", "-", ends=ends))

    def pids(self) -> tuple[int, int]:
        """The server's and the worker's, as they are noted."""
        noted = [json.loads((self.folder / "plant" / f"{part}.json").read_text()) for part in ("server", "worker")]
        return noted[0]["pid"], noted[1]["pid"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    write_plant(home.folder, line=LINE)
    for number in range(2):
        write_image(tmp_path / "images" / f"{number}.png", brightness=250 - 100 * number)
    yield home
    home.linewise("down", "--now")


def test_a_plant_comes_up_is_mended_scores_and_goes_down(home):
    said = home.linewise("up", "--port", str(home.port), "--review-port", str(home.review_port))
    assert f"Prefect UI: http://127.0.0.1:{home.port}\nReview page: http://127.0.0.1:{home.review_port}\n" in said
    assert "score-folder" in said
    server, worker = home.pids()

    told = home.status()
    assert told["healthy"]
    assert (told["server"]["pid"], told["worker"]["pid"], told["api"]["health"]) == (server, worker, "answers")
    assert (told["pages"]["answers"], told["pages"]["api"]) == (True, f"http://127.0.0.1:{home.review_port}")
    with urlopen(told["pages"]["api"]) as page:
        assert f"{LINE}</a>" in page.read().decode()
    assert [found["online"] for found in told["served"]["workers"]] == [True]
    schedules = {found["name"]: found["schedules"] for found in told["served"]["deployments"]}
    assert schedules["score-folder"] == [{"when": "every 15 min", "on": False}]
    assert [(line["line"], line["last_scored"]) for line in told["lines"]] == [(LINE, None)]

    assert "Nothing to start: the plant runs." in home.linewise("up")
    assert home.pids() == (server, worker)

    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: find_process(worker) is None, 60)
    (problem,) = home.status(ends=1)["problems"]
    assert problem.startswith(f"The worker (process {worker}) has ended although nobody stopped it: `linewise up`")
    assert "Worker started" in home.linewise("up")
    assert home.pids()[0] == server
    assert home.pids()[1] != worker

    with SyncPrefectClient(api=f"http://127.0.0.1:{home.port}/api") as client:
        deployment = client.read_deployment_by_name("score-folder/score-folder")
        request = {"line": LINE, "images": str(home.folder.parent / "images"), "device": "cpu", "workers": 1}
        run = client.create_flow_run_from_deployment(deployment.id, parameters={"request": request}).id
        wait_until(lambda: state(client, run) != "SCHEDULED", 300)

    assert home.linewise("down") == "Review page ended.\nWorker ended.\nServer ended.\n"
    assert not marked_processes("LINEWISE_HOME", str(home.folder)), "server, worker and runs have it"
    assert home.linewise("down") == "Nothing runs that `linewise up` started.\n"
    told = home.status()
    assert (told["server"], told["worker"], told["pages"]) == (None, None, None)
    assert told["lines"][0]["last_scored"] is not None, "it waited for the run"
    with closing(sqlite3.connect(home.folder / "plant" / "prefect" / "prefect.db")) as database:
        assert database.execute("SELECT state_type FROM flow_run").fetchall() == [("COMPLETED",)]
        assert database.execute("SELECT is_paused FROM work_pool WHERE name = 'linewise'").fetchall() == [(0,)]


def wait_until(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"not after {seconds:.0f} s"
        time.sleep(0.2)


def state(client: SyncPrefectClient, run: Any) -> str:
    found = client.read_flow_run(run).state
    assert found is not None
    return found.type.value
