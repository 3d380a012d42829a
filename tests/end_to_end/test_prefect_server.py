"""A real Prefect server and worker, the deployments of `deploy/prefect.yaml`, and a browser that does what a user does.

Screenshots go to LINEWISE_SCREENSHOTS, or to the test's temporary folder.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen
from uuid import UUID

import pytest

from flows.jobs.installation_checks import Verdict, check_installation
from pipeline.settings import load_settings
from pipeline.synthetic.lines import write_line

pytestmark = [pytest.mark.server, pytest.mark.end_to_end, pytest.mark.timeout(900)]

prefect_client = pytest.importorskip("prefect.client.orchestration", reason="the extra `flows` is not installed")

LINE = "LINE_A/7"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    port = free_port()
    ui = f"http://127.0.0.1:{port}"
    line = write_line(folder / "lines", 7, good=6, test_good=6, defects=12, size=160)
    inherited = {"LINEWISE_TEMPLATE_CACHE"}  # the head's graph is traced once a run, by whoever needs it first
    kept = {name for name in os.environ if name in inherited or not name.startswith(("PREFECT_", "LINEWISE_"))}
    environment = {name: os.environ[name] for name in kept}
    environment |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"{ui}/api",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "LINEWISE_HOME": str(folder / "home"),
    }
    logs = {name: (folder / f"{name}.log").open("wb") for name in ("server", "worker")}

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "prefect", *arguments]
        return subprocess.Popen(command, env=environment, cwd=folder, stdout=logs[name], stderr=subprocess.STDOUT)

    server = start("server", "server", "start")
    try:
        deadline = time.monotonic() + 120
        while not healthy(f"{ui}/api/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{(folder / 'server.log').read_text()[-3000:]}")
            time.sleep(0.5)
        bootstrap = [sys.executable, "-m", "flows.bootstrap"]
        subprocess.run(bootstrap, env=environment, cwd=folder, check=True, capture_output=True)
        worker = start("worker", "worker", "start", "--pool", "linewise", "--type", "process")
        try:
            with prefect_client.SyncPrefectClient(api=f"{ui}/api") as client:
                yield Plant(ui, client, environment, folder / "home", line, folder / "worker.log")
        finally:
            stop(worker)
    finally:
        stop(server)
        for log in logs.values():
            log.close()


def healthy(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the PATH (on Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        opened = browser.new_page(viewport={"width": 1300, "height": 1000})
        opened.set_default_timeout(60_000)
        yield opened
        browser.close()


@pytest.fixture(scope="module")
def screenshot(page: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = Path(os.environ.get("LINEWISE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str, *, height: int = 1000) -> Path:
        page.set_viewport_size({"width": 1300, "height": height})
        page.wait_for_timeout(1500)  # what fades in has done so
        page.mouse.wheel(0, -10_000)
        page.wait_for_timeout(200)
        page.screenshot(path=folder / f"{name}.png")
        return folder / f"{name}.png"

    return take


def test_deployments_are_registered_and_their_schedules_off(plant):
    names = {deployment.name for deployment in plant.client.read_deployments()}
    assert names == {"meta-train", "adapt-line", "adapt-new-lines", "export", "score-folder", "score-plant", "evaluate"}
    schedules = {name: plant.deployment(name).schedules for name in names}
    assert {name: [schedule.active for schedule in found] for name, found in schedules.items() if found} == {
        "adapt-new-lines": [False],
        "score-folder": [False],
        "score-plant": [False],
    }
    again = subprocess.run(
        [sys.executable, "-m", "flows.bootstrap"], env=plant.environment, check=True, capture_output=True, text=True
    )
    assert "none, all were there" in again.stdout
    assert len(plant.client.read_automations_by_name("linewise: crash silent runs")) == 1


def test_the_doctor_reaches_the_server(plant, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", plant.environment["PREFECT_API_URL"])
    (check,) = (check for check in check_installation(load_settings(plant.home)) if check.name == "prefect")
    assert (check.verdict, check.says) == (Verdict.OK, f"{plant.ui}/api answers")


def test_a_value_out_of_bounds_is_refused_before_a_run_exists(plant):
    from prefect.exceptions import PrefectHTTPStatusError

    request = {"line": "x", "images": str(plant.line), "target_false_reject_rate": 0.9}
    with pytest.raises(PrefectHTTPStatusError) as refused:
        plant.client.create_flow_run_from_deployment(plant.deployment("adapt-line").id, parameters={"request": request})
    assert refused.value.response.status_code == 409
    assert "0.5" in refused.value.response.text


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


@pytest.mark.browser
def test_adapt_line_from_its_form(plant, page, screenshot):
    deployment = plant.deployment("adapt-line")
    page.goto(f"{plant.ui}/deployments/deployment/{deployment.id}/run")
    page.get_by_text("Name of the product line").wait_for()
    boxes = page.locator("textarea")
    boxes.nth(0).fill(LINE)
    boxes.nth(1).fill(str(plant.line))
    page.get_by_text("int", exact=True).first.click()  # a size, instead of leaving it to the line
    page.locator("input[type=number]").first.fill("96")
    screenshot("form", height=1750)
    run = submit(plant, page, deployment.id)
    page.goto("about:blank")  # an open page keeps the processors busy that the run needs
    assert run.parameters["request"]["line"] == LINE
    run = plant.ended(run.id)
    assert run.state.is_completed(), run.state.message
    assert run.name == f"adapt {LINE}"
    assert f"line:{LINE}" in run.tags

    artifact = plant.artifact("adapt-line-a-7", run.id)
    assert artifact.data.count("data:image/jpeg;base64,") >= 8
    assert plant.artifact("progress-line-a-7", run.id).data == 100.0

    page.goto(f"{plant.ui}/runs/flow-run/{run.id}")
    page.get_by_text("Completed").first.wait_for()
    page.get_by_text("adapt with auto").first.wait_for()
    screenshot("run")
    page.goto(f"{plant.ui}/artifacts/artifact/{artifact.id}")
    page.locator("img[alt^='heat map']").first.wait_for()
    widths = page.eval_on_selector_all("img[alt^='heat map']", "images => images.map(image => image.naturalWidth)")
    assert len(widths) >= 4
    assert all(width > 0 for width in widths), "every heat map is drawn"
    screenshot("artifact", height=1700)
    page.goto("about:blank")


@pytest.mark.browser
def test_score_folder_from_its_schedule(plant, page, screenshot):
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.client.schemas.schedules import IntervalSchedule

    if not (plant.home / "lines").is_dir():
        pytest.skip("needs the line that the form adapted to")
    deployment = plant.deployment("score-folder")
    request = {"line": LINE, "images": str(plant.line / "test"), "device": "cpu"}
    plant.client.update_deployment(deployment.id, DeploymentUpdate(parameters={"request": request}))
    (schedule,) = deployment.schedules
    plant.client.update_deployment_schedule(
        deployment.id, schedule.id, schedule=IntervalSchedule(interval=timedelta(seconds=20))
    )
    page.goto(f"{plant.ui}/deployments/deployment/{deployment.id}")
    switch_on(plant, page, deployment.id)
    screenshot("schedule")

    def scored() -> Any:
        runs = plant.client.read_flow_runs(limit=100)
        ended = [r for r in runs if r.deployment_id == deployment.id and r.state is not None and r.state.is_final()]
        return next((run for run in ended if run.auto_scheduled), None)

    page.goto("about:blank")
    run = plant.wait_for(scored)
    page.goto(f"{plant.ui}/deployments/deployment/{deployment.id}")
    screenshot("scheduled-runs")
    plant.client.update_deployment_schedule(deployment.id, schedule.id, active=False)
    assert run.state.is_completed(), run.state.message
    assert run.name == f"score {LINE}"
    artifact = plant.artifact("score-line-a-7", run.id)
    assert artifact.data.count("data:image/jpeg;base64,") >= 2
    page.goto(f"{plant.ui}/artifacts/artifact/{artifact.id}")
    page.locator("img[alt^='heat map']").first.wait_for()
    screenshot("scores", height=1700)
    reports = list((plant.home / "reports").rglob("report.html"))
    assert reports


def test_a_users_mistake_is_the_runs_message(plant):
    request = {"line": LINE, "images": "/nowhere/at/all"}
    created = plant.client.create_flow_run_from_deployment(
        plant.deployment("adapt-line").id, parameters={"request": request}
    )
    run = plant.ended(created.id)
    assert run.state.is_failed()
    assert run.state.message.startswith("expected a folder with a product line, got no such folder")
    assert run.run_count == 1, "not retried"
