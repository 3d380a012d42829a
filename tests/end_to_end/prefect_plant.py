"""A Prefect server and a worker that run for real, and what a user presses in a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient

from pipeline.synthetic.lines import write_line


@dataclass(frozen=True)
class Plant:
    """A running server and worker, and where they keep their things."""

    ui: str
    client: Any
    environment: dict[str, str]
    home: Path
    line: Path
    worker_log: Path

    def deployment(self, name: str) -> Any:
        return self.client.read_deployment_by_name(f"{name}/{name}")

    def wait_for(self, find: Callable[[], Any], seconds: float = 420.0) -> Any:
        """Ask until there is an answer; fail with the worker's log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (found := find()) is not None:
                return found
            time.sleep(1.0)
        pytest.fail(f"nothing after {seconds:.0f} s; the worker said:\n{self.worker_log.read_text()[-6000:]}")

    def ended(self, run_id: Any) -> Any:
        """The flow run, once it ended."""

        def final() -> Any:
            run = self.client.read_flow_run(run_id)
            return run if run.state is not None and run.state.is_final() else None

        return self.wait_for(final)

    def asked(self, deployment: str, request: dict[str, Any], **others: Any) -> Any:
        """A run of a deployment, once it ended; with other parameters beside its request."""
        parameters = {"request": request, **others}
        run = self.client.create_flow_run_from_deployment(self.deployment(deployment).id, parameters=parameters)
        return self.ended(run.id)

    def artifact(self, key: str, flow_run_id: Any) -> Any:
        found = [a for a in self.client.read_artifacts(limit=200) if a.key == key and a.flow_run_id == flow_run_id]
        assert len(found) == 1, f"{key}: {len(found)} artifacts"
        return found[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that this module started, and let it end its children."""
    process.terminate()
    try:
        process.wait(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=60)


@contextmanager
def running_server(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """A server with its home below the folder, in a process of its own; yields the environment of who talks to it."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    inherited = {"LINEWISE_TEMPLATE_CACHE"}  # the head's graph is traced once a run, by whoever needs it first
    kept = {name for name in os.environ if name in inherited or not name.startswith(("PREFECT_", "LINEWISE_"))}
    environment = {name: os.environ[name] for name in kept}
    environment |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "LINEWISE_HOME": str(folder / "home"),
        **settings,
    }
    with started(folder, environment, "server", "server", "start") as server:
        deadline = time.monotonic() + 600
        while not healthy(f"{api}/health"):
            is_coming = server.poll() is None and time.monotonic() < deadline
            assert is_coming, f"the server did not start:\n{(folder / 'server.log').read_text()[-3000:]}"
            time.sleep(0.5)
        yield environment


@contextmanager
def started(folder: Path, environment: dict[str, str], name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Prefect's command with these arguments, as long as the context lasts; its log is `NAME.log` in the folder."""
    with (folder / f"{name}.log").open("wb") as log:
        command = [sys.executable, "-m", "prefect", *arguments]
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            stop(process)


def run_bootstrap(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    """`python -m flows.bootstrap`; what it said."""
    command = [sys.executable, "-m", "flows.bootstrap", *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running_plant(folder: Path) -> Iterator[Plant]:
    """A plant below the folder: server, deployments and worker, all in processes of their own."""
    line = write_line(folder / "lines", 7, good=6, test_good=6, defects=12, size=160)
    with running_server(folder) as environment:
        run_bootstrap(folder, environment)
        api = environment["PREFECT_API_URL"]
        with (
            started(folder, environment, "worker", "worker", "start", "--pool", "linewise", "--type", "process"),
            SyncPrefectClient(api=api) as client,
        ):
            ui = api.removesuffix("/api")
            yield Plant(ui, client, environment, folder / "home", line, folder / "worker.log")


@contextmanager
def reviewing(plant: Plant) -> Iterator[str]:
    """The address of the plant's review page, as long as the context lasts."""
    port, folder = free_port(), plant.home.parent
    command = [sys.executable, "-m", "flows.cli", "review", "--port", str(port)]
    with (folder / "review.log").open("wb") as log:
        process = subprocess.Popen(command, env=plant.environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            address = f"http://127.0.0.1:{port}"
            plant.wait_for(lambda: healthy(address) or None)
            yield address
        finally:
            stop(process)


def healthy(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


def submit(plant: Plant, page: Any, deployment_id: UUID) -> Any:
    """Press the form's button until there is a run: a click that a busy page has not wired up yet is lost."""
    button = page.get_by_role("button", name="Submit")
    for _ in range(6):
        if button.is_visible() and button.is_enabled():
            button.click()
        for _ in range(20):
            page.wait_for_timeout(1_000)  # unlike time.sleep, this lets the page's events through
            for run in plant.client.read_flow_runs(limit=10):
                if run.deployment_id == deployment_id:
                    return run
    pytest.fail(f"no run came of the form at {page.url}; it says:\n{page.inner_text('body')[-3000:]}")


def switch_on(plant: Plant, page: Any, deployment_id: UUID) -> None:
    """Press a schedule's switch until the server has it on: a busy one answers "Failed to activate" now and then."""
    switch = page.get_by_role("switch").first
    switch.wait_for()
    for _ in range(6):
        switch.click()
        for _ in range(10):
            page.wait_for_timeout(1_000)
            if all(schedule.active for schedule in plant.client.read_deployment(deployment_id).schedules):
                return
    pytest.fail(f"the schedule stayed off; the page says:\n{page.inner_text('body')[-3000:]}")
