"""A real Prefect server and worker, the deployments of `deploy/prefect.yaml`, and a browser that does what a user does.

Screenshots go to LINEWISE_SCREENSHOTS, README's two to LINEWISE_README_IMAGES, too; without it none is waited for.
Both of Prefect's UIs are looked at: the older one at the server's root, the newer one below /v2.
"""

# Longer than the others: a plant takes minutes to start, so all its pages are seen in one module.

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.bundles.registry import Registry
from deploy.drift.policy import DriftSettings, write_drift_settings
from deploy.results.store import ResultStore
from flows.doctor.checks import Verdict
from flows.score import job as score
from flows.score.request import ScoreRequest
from pipeline.settings import load_settings
from pipeline.synthetic.lines import generate_line, write_line

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from tests.end_to_end.prefect_plant import Plant, reviewing, run_bootstrap, running_plant, submit, switch_on
from tests.parts.checks import found
from tests.parts.chromium import open_page
from tests.parts.line_on_disk import save

pytestmark = [pytest.mark.server, pytest.mark.end_to_end, pytest.mark.timeout(900)]

LINE = "LINE_A/7"
KEY = "line-a-7"
UIS = {"older": "", "newer": "/v2"}


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
def screenshot(page: Any) -> Callable[..., None]:
    asked_for = os.environ.get("LINEWISE_SCREENSHOTS")

    def take(name: str, *, width: int = 1300, height: int = 1000, readme: str | None = None) -> None:
        page.set_viewport_size({"width": width, "height": height})
        if not asked_for:
            return
        page.wait_for_timeout(1500)  # what fades in has done so
        page.mouse.wheel(0, -10_000)
        page.wait_for_timeout(200)
        path = Path(asked_for) / f"{name}.png"
        page.screenshot(path=path)
        if readme and (images := os.environ.get("LINEWISE_README_IMAGES")):
            Path(images).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, Path(images) / f"{readme}.png")

    return take


def test_deployments_are_registered_and_their_schedules_off(plant):
    names = {deployment.name for deployment in plant.client.read_deployments()}
    scoring = {"export", "score-folder", "score-shard", "score-plant"}
    life = {"adapt-line", "adapt-new-lines", "calibrate-line", "set-threshold", "gate-line", "roll-back"}
    plants = {"meta-train-plant", "roll-back-meta-model"}
    tending = {"tend-plant", "tend-line"}
    assert names == {"meta-train", "evaluate", "housekeeping", "watch-drift"} | plants | life | scoring | tending
    queues = {name: plant.deployment(name).work_queue_name for name in names}
    assert [queues[name] for name in ("score-shard", "adapt-line", "meta-train")] == [
        "production",
        "lines",
        "background",
    ]
    schedules = {name: plant.deployment(name).schedules for name in names}
    assert {name: [schedule.active for schedule in found] for name, found in schedules.items() if found} == {
        "adapt-new-lines": [False],
        "housekeeping": [False],
        "meta-train-plant": [False],
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
    page.get_by_text("adapt, learner default").first.wait_for()
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

    needs_the_line(plant)
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
        # where a run takes longer than the schedule's interval, others behind it end as skipped meanwhile
        return next((run for run in ended if run.auto_scheduled and run.state.name != "Skipped"), None)

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


def test_a_folder_is_scored_in_shards_by_the_pools_workers(plant):
    needs_the_line(plant)
    folder = plant.home.parent / "shards"  # it stays: the review page shows these images, too
    camera = write_line(folder, 11, good=0, test_good=6, defects=2, size=96) / "test"
    run = plant.asked("score-folder", {"line": LINE, "images": str(camera), "device": "cpu"}, shards=2)
    assert run.state.is_completed(), run.state.message
    names = [run.name for run in plant.client.read_flow_runs(limit=100) if run.state.is_completed()]
    assert {f"score {LINE}, shard 1/2", f"score {LINE}, shard 2/2"} <= set(names)
    with ResultStore(load_settings(plant.home).database) as store:
        rows = [row for row in store.query(line=LINE, limit=None) if row.image_path.startswith(str(camera))]
        of_runs = {row.run_id for row in rows}
        assert (len(rows), len({row.image_sha256 for row in rows}), len(of_runs)) == (8, 8, 2)
        last = store.runs(line=LINE)[0]
        assert (last.scored, last.skipped) == (0, 8), "the run itself found them scored"


@pytest.mark.browser
def test_images_of_the_line_are_reviewed_by_keys(plant, page, screenshot):
    needs_the_line(plant)
    with reviewing(plant) as address:
        page.goto(address)
        page.locator("h2 a", has_text=LINE).click()
        page.fill("#name", "Ada")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('plain')?.naturalWidth > 0")
        page.keyboard.press("h")
        assert page.locator("img.heat").is_visible()
        screenshot("review", width=960, height=520, readme="review")
        with page.expect_navigation():
            page.keyboard.press("g")
        page.wait_for_function("() => document.getElementById('plain')?.naturalWidth > 0")
        with page.expect_navigation():
            page.keyboard.press("d")  # it may have been the last question
    with ResultStore(load_settings(plant.home).database) as store:
        words = store.verdicts(LINE, overruled=True)  # a random question may be about the same image
    assert sorted(word.verdict.value for word in words) == ["defective", "good"]


def test_a_users_mistake_is_the_runs_message(plant):
    request = {"line": LINE, "images": "/nowhere/at/all"}
    created = plant.client.create_flow_run_from_deployment(
        plant.deployment("adapt-line").id, parameters={"request": request}
    )
    run = plant.ended(created.id)
    assert run.state.is_failed()
    assert run.state.message.startswith("expected a folder with a product line, got no such folder")
    assert run.run_count == 1, "not retried"


@pytest.mark.browser
def test_drift_is_an_artifact_with_images_of_before_and_after(plant, page, screenshot):
    needs_the_line(plant)
    made, rng = generate_line(7, size=160), np.random.default_rng(5)
    for number in range(110):
        gain = 1.0 if number < 80 else 0.6
        save(plant.home.parent / "production" / f"{number:03}.png", (made.good(rng).image * gain).astype(np.uint8))
    settings = load_settings(plant.home)
    score.run(ScoreRequest(line=LINE, images=str(plant.home.parent / "production"), device="cpu"), settings)
    write_drift_settings(plant.home, LINE, DriftSettings(block=1))
    run = plant.asked("watch-drift", {})
    assert run.state.name == "Completed", run.state.message
    artifact = plant.artifact(f"drift-{KEY}", run.id)
    assert "darker" in artifact.data
    for name, ui in UIS.items():
        page.goto(f"{plant.ui}{ui}/artifacts/artifact/{artifact.id}")
        page.locator("img[alt$='.png']").first.wait_for()
        screenshot(f"drift-{name}", height=1300)
    page.goto("about:blank")


@pytest.mark.browser
def test_a_held_gate_is_in_the_list_of_runs_with_its_reason(plant, page, screenshot):
    needs_the_line(plant)
    live = Registry(plant.home).live_version(LINE)
    other = write_line(plant.home.parent / "other-product", 11, good=6, test_good=2, defects=4, size=160)
    run = plant.asked("adapt-line", {"line": LINE, "images": str(other), "size": 96, "gate": True})
    assert (run.state.name, Registry(plant.home).live_version(LINE)) == ("Held", live), run.state.message
    artifact = plant.artifact(f"gate-{KEY}", run.id)
    for name, ui in UIS.items():
        page.goto(f"{plant.ui}{ui}/runs")
        page.get_by_text("Held").first.wait_for()
        screenshot(f"runs-{name}", height=1150)
        page.goto(f"{plant.ui}{ui}/runs/flow-run/{run.id}")
        page.get_by_text("Held").first.wait_for()
        screenshot(f"held-run-{name}")
        page.goto(f"{plant.ui}{ui}/artifacts/artifact/{artifact.id}")
        page.get_by_text("Candidate").first.wait_for()
        screenshot(f"gate-{name}", height=1000, readme="gate" if name == "newer" else None)
    page.goto("about:blank")


@pytest.mark.browser
def test_a_version_is_rolled_back_by_a_form(plant, page, screenshot):
    needs_the_line(plant)
    registry = Registry(plant.home)
    good, held = registry.live_version(LINE), registry.versions(LINE)[-1].version
    if held == good:
        pytest.skip("needs the version that the gate held")
    registry.promote(LINE, held, by="Ada", why="the gate is too strict")
    deployment = plant.deployment("roll-back")
    for name, ui in UIS.items():
        page.goto(f"{plant.ui}{ui}/deployments/deployment/{deployment.id}/run")
        page.get_by_text("Name of the product line").wait_for()
        screenshot(f"roll-back-form-{name}")
    page.goto(f"{plant.ui}/deployments/deployment/{deployment.id}/run")
    page.get_by_text("Name of the product line").wait_for()
    page.locator("textarea").first.fill(LINE)
    run = plant.ended(submit(plant, page, deployment.id).id)
    page.goto("about:blank")
    assert run.state.is_completed(), run.state.message
    assert registry.live_version(LINE) == good
    assert "Rolled back | " in plant.artifact(f"roll-back-{KEY}", run.id).data


@pytest.mark.browser
def test_a_threshold_is_set_by_its_form(plant, page, screenshot):
    needs_the_line(plant)
    deployment = plant.deployment("set-threshold")
    for name, ui in UIS.items():
        page.goto(f"{plant.ui}{ui}/deployments/deployment/{deployment.id}/run")
        page.get_by_text("Name of the product line").wait_for()
        screenshot(f"threshold-form-{name}", height=1300)
    page.goto(f"{plant.ui}/deployments/deployment/{deployment.id}/run")
    page.get_by_text("Name of the product line").wait_for()
    page.locator("textarea").first.fill(LINE)
    page.get_by_text("float", exact=True).first.click()  # of the threshold, instead of none
    page.locator("input[type=number]").first.fill("123.5")
    page.get_by_text("str", exact=True).first.click()  # of why
    page.locator("textarea").nth(1).fill("too many scratches passed")
    screenshot("threshold-form-filled", height=1300)
    run = plant.ended(submit(plant, page, deployment.id).id)
    page.goto("about:blank")
    assert run.state.is_completed(), run.state.message
    assert Registry(plant.home).live(LINE).manifest.threshold.reject == 123.5
    artifact = next(
        a for a in plant.client.read_artifacts(limit=200) if a.flow_run_id == run.id and "threshold" in a.key
    )
    page.goto(f"{plant.ui}/v2/artifacts/artifact/{artifact.id}")
    screenshot("threshold")
    page.goto("about:blank")


def needs_the_line(plant: Plant) -> None:
    if not (plant.home / "lines").is_dir():
        pytest.skip("needs the line that the form adapted to")
