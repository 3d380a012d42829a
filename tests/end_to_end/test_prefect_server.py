"""A real Prefect server and worker, the deployments of `deploy/prefect.yaml`, and a browser that does what a user does.

Screenshots go to LINEWISE_SCREENSHOTS, or to the test's temporary folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.doctor.checks import Verdict
from pipeline.settings import load_settings

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from tests.end_to_end.prefect_plant import Plant, run_bootstrap, running_plant, submit, switch_on
from tests.parts.checks import found
from tests.parts.chromium import open_page

pytestmark = [pytest.mark.server, pytest.mark.end_to_end, pytest.mark.timeout(900)]

LINE = "LINE_A/7"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with running_plant(tmp_path_factory.mktemp("plant")) as plant:
        yield plant


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with open_page(viewport={"width": 1300, "height": 1000}) as opened:
        opened.set_default_timeout(60_000)
        yield opened


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
    scoring = {"export", "score-folder", "score-plant"}
    life = {"adapt-line", "adapt-new-lines", "calibrate-line", "set-threshold", "gate-line", "roll-back", "tend-plant"}
    assert names == {"meta-train", "evaluate", "housekeeping", "watch-drift"} | life | scoring
    schedules = {name: plant.deployment(name).schedules for name in names}
    assert {name: [schedule.active for schedule in found] for name, found in schedules.items() if found} == {
        "adapt-new-lines": [False],
        "housekeeping": [False],
        "score-folder": [False],
        "score-plant": [False],
        "tend-plant": [False],
        "watch-drift": [False],
    }
    again = run_bootstrap(plant.home.parent, plant.environment)
    assert "registered: none, all were there; renewed: none." in again
    about_runs = ("linewise: crash silent runs", "linewise: crash runs that never start")
    for automation in (*about_runs, "linewise: adapt lines that appear", "linewise: adapt lines that drift"):
        assert len(plant.client.read_automations_by_name(automation)) == 1


def test_the_doctor_reaches_the_server(plant, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", plant.environment["PREFECT_API_URL"])
    check = found("prefect", load_settings(plant.home))
    assert (check.verdict, check.says) == (Verdict.OK, f"{plant.ui}/api answers")


def test_a_value_out_of_bounds_is_refused_before_a_run_exists(plant):
    from prefect.exceptions import PrefectHTTPStatusError

    request = {"line": "x", "images": str(plant.line), "target_false_reject_rate": 0.9}
    with pytest.raises(PrefectHTTPStatusError) as refused:
        plant.client.create_flow_run_from_deployment(plant.deployment("adapt-line").id, parameters={"request": request})
    assert refused.value.response.status_code == 409
    assert "0.5" in refused.value.response.text


@pytest.mark.browser
def test_adapt_line_from_its_form(plant, page, screenshot):
    deployment = plant.deployment("adapt-line")
    page.goto(f"{plant.ui}/deployments/deployment/{deployment.id}/run")
    page.get_by_text("Name of the product line").wait_for()
    boxes = page.locator("textarea")
    boxes.nth(0).fill(LINE)
    boxes.nth(1).fill(str(plant.line))
    page.get_by_text("int", exact=True).last.click()  # a size, the form's last field, instead of leaving it to the line
    page.locator("input[type=number]").last.fill("96")
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
