"""Flows against one real Prefect API."""

from __future__ import annotations

import json
import logging
import re
import shutil

import numpy as np
import pytest

prefect = pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect import flow  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402

import flows.adapt.flow  # noqa: E402
import flows.calibrate.flow  # noqa: E402
import flows.export.flow  # noqa: E402
import flows.meta_train.flow  # noqa: E402
import flows.score.flow  # noqa: E402
import flows.score.plant_flow  # noqa: E402
from deploy.bundles.registry import Registry  # noqa: E402
from deploy.scoring.sources.address import StreamAddress  # noqa: E402
from flows.adapt.new_lines import new_lines  # noqa: E402
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest  # noqa: E402
from flows.calibrate.request import CalibrateRequest  # noqa: E402
from flows.export.request import ExportRequest  # noqa: E402
from flows.progress import Progress  # noqa: E402
from flows.score.request import ScorePlantRequest, ScoreRequest  # noqa: E402
from flows.server import artifacts  # noqa: E402
from pipeline.settings import Device, Settings, load_settings  # noqa: E402
from pipeline.synthetic.lines import generate_line  # noqa: E402
from tests.flows.adapted_home import LINE, SIZE, score_request  # noqa: E402
from tests.parts.line_on_disk import save  # noqa: E402
from tests.parts.plant import write_image, write_plant  # noqa: E402


def test_adaptation_shows_the_unlabelled_images_that_it_left_out(prefect_api, home, line, tmp_path):
    rng = np.random.default_rng(0)
    product = generate_line(7, size=96)
    for number in range(6):
        pixels = product.good(rng).image.copy()
        if number == 0:
            pixels[20:70, 20:70] = 255 - pixels[20:70, 20:70]
        save(tmp_path / "shift" / f"{number}.png", pixels[..., ::-1])
    request = AdaptRequest(line="shift", images=line, unlabelled=tmp_path / "shift", size=SIZE, defects=0)
    state = flows.adapt.flow.adapt_line(request, return_state=True)
    assert state.is_completed()
    with get_client(sync_client=True) as client:
        run = state.state_details.flow_run_id
        found = {a.key: a for a in client.read_artifacts(limit=200) if a.flow_run_id == run}
    told = str(found["adapt-shift"].data)
    section = told.split("## Unlabelled images left out")[1].split("##", maxsplit=1)[0]
    assert re.search(r"\b[345] of 6 unlabelled images are taken up as good", section)
    assert "![heat map of 0.png](data:image/jpeg;base64," in section
    assert "| Unlabelled images | " in told


def test_scoring_run_is_named_tagged_and_shows_heat_maps(prefect_api, adapted_home, line, tmp_path, caplog):
    images = shutil.copytree(line / "test", tmp_path / "images")
    (images / "text.png").write_text("not an image")
    caplog.set_level(logging.INFO)
    state = flows.score.flow.score_folder(score_request(line, images=images), return_state=True)
    assert state.is_completed()
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        found = {a.key: a for a in client.read_artifacts(limit=200) if a.flow_run_id == run.id}
    assert run.name == f"score {LINE}"
    assert f"line:{LINE}" in run.tags
    assert {"score-line-a-7", "progress-line-a-7"} <= set(found)
    assert "data:image/jpeg;base64," in str(found["score-line-a-7"].data)
    assert found["progress-line-a-7"].data == 100.0
    (said,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Scores of ")]
    assert f"line {LINE}, version " in said
    assert "images 11, pass " in said
    assert "unreadable 1, scored before 0" in said


def test_a_plants_run_shows_its_lines_and_fails_in_one_sentence(prefect_api, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LINEWISE_DATABASE_URL", raising=False)
    write_plant(tmp_path / "home", line="caps")
    images = tmp_path / "Plant_1"
    for number, name in enumerate(["caps/a.png", "caps/b.png", "lids/c.png"]):
        write_image(images / name, brightness=250 - 100 * number)
    request = ScorePlantRequest(images=images, device=Device.CPU, workers=1)
    state = flows.score.plant_flow.score_plant(request, return_state=True)
    assert state.is_completed()
    missing = flows.score.plant_flow.score_plant(ScorePlantRequest(images=tmp_path / "nowhere"), return_state=True)
    assert missing.is_failed()
    assert str(missing.message).startswith("expected a folder with a folder of images for each line, got no folder")
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        found = {a.key: a.data for a in client.read_artifacts(limit=200) if a.flow_run_id == run.id}
    assert run.name == "score plant Plant_1"
    assert "plant:Plant_1" in run.tags
    assert set(found) == {"plant-plant-1", "plant-plant-1-lines", "plant-plant-1-flagged", "progress-plant-plant-1"}
    (line,) = json.loads(str(found["plant-plant-1-lines"]))
    assert (line["line"], line["images"], line["reject"], line["pass"]) == ("caps", 2, 1, 0)
    assert [row["decision"] for row in json.loads(str(found["plant-plant-1-flagged"]))] == ["REJECT", "REVIEW"]
    assert "no registered line for the folder lids" in str(found["plant-plant-1"])


def test_export_run_says_what_it_wrote(prefect_api, adapted_home, tmp_path):
    state = flows.export.flow.export(ExportRequest(line=LINE, destination=tmp_path / "pack"), return_state=True)
    assert state.is_completed()
    with get_client(sync_client=True) as client:
        run = state.state_details.flow_run_id
        found = {a.key: a.data for a in client.read_artifacts(limit=200) if a.flow_run_id == run}
    assert set(found) == {"export-line-a-7", "progress-line-a-7"}
    assert "pack" in str(found["export-line-a-7"])
    assert found["progress-line-a-7"] == 100.0
    assert (tmp_path / "pack" / "bundle" / "head.onnx").is_file()


def test_calibration_run_says_what_changes(prefect_api, adapted_home, line):
    request = CalibrateRequest(line=LINE, images=line, device=Device.CPU, target_false_reject_rate=0.2)
    state = flows.calibrate.flow.calibrate_line(request, return_state=True)
    assert state.is_completed()
    with get_client(sync_client=True) as client:
        run = state.state_details.flow_run_id
        found = {a.key: a.data for a in client.read_artifacts(limit=200) if a.flow_run_id == run}
    assert set(found) == {"calibrate-line-a-7", "progress-line-a-7"}
    assert "Good images rejected, before" in str(found["calibrate-line-a-7"])
    assert found["progress-line-a-7"] == 100.0


TOO_LONG = "a" * 81
"""Of a folder: no line can have such a name."""


def test_new_lines_are_adapted_and_a_bad_one_does_not_stop_them(prefect_api, adapted_home, line):
    incoming = adapted_home / "incoming"
    shutil.copytree(line, incoming / "fresh")
    for path in sorted((incoming / "fresh" / "train" / "good").iterdir())[2:]:
        path.unlink()  # with as many as the other tests use, the head's graph is traced once
    (incoming / "empty").mkdir()
    (incoming / TOO_LONG).mkdir()
    state = flows.adapt.flow.adapt_new_lines(AdaptNewLinesRequest(size=SIZE), return_state=True)
    assert state.is_failed()
    assert f"failures for {TOO_LONG}, empty" in str(state.message)
    assert "fresh" in Registry(adapted_home).lines()
    assert new_lines(incoming, load_settings()) == [TOO_LONG, "empty"]
    with get_client(sync_client=True) as client:
        run = state.state_details.flow_run_id
        (table,) = [a.data for a in client.read_artifacts(limit=200) if a.key == "new-lines" and a.flow_run_id == run]
    assert "expected line to have at most 80 characters" in str(table)


def test_the_command_shows_new_lines_adapted_through_prefect(prefect_api, adapted_home, line, linewise):
    incoming = adapted_home / "incoming"
    shutil.copytree(line, incoming / "fresh")
    for said in ("fresh: adapted", f"Every line in {incoming} is registered."):
        code, out, _ = linewise("adapt-new-lines", "--size", SIZE, "--target-false-reject-rate", "0.4", "--prefect")
        assert (code, out.strip()) == (0, said)


@pytest.mark.parametrize("switches", [(), ("--prefect",)], ids=["here", "through Prefect"])
def test_the_command_tells_of_new_lines_that_fail_alike(prefect_api, adapted_home, linewise, switches):
    (adapted_home / "incoming" / "empty").mkdir(parents=True)
    code, _, error = linewise("adapt-new-lines", "--size", SIZE, *switches)
    assert code == 1
    assert error.count("\nempty: expected ") + error.startswith("empty: expected ") == 1


def test_progress_is_one_artifact(prefect_api):
    @flow
    def body() -> None:
        show = artifacts.ProgressArtifact("progress-test", every=0.0)
        for done in range(3):
            show(Progress(stage="count", done=done, total=4, figures={"loss": 0.5}))
        show(Progress(stage="count", done=4, total=4))

    body()
    with get_client(sync_client=True) as client:
        found = [a for a in client.read_artifacts(limit=200) if a.key == "progress-test"]
    assert [a.data for a in found] == [100.0]


def test_progress_says_what_is_left_or_how_much_is_done(prefect_api):
    @flow
    def body() -> None:
        show = artifacts.ProgressArtifact("progress-left", every=0.0)
        show(Progress(stage="score", done=1, total=4, figures={"images/s": 2.5}, seconds_left=65))
        show = artifacts.ProgressArtifact("progress-endless", every=0.0)
        show(Progress(stage="score", done=7, figures={"images/s": 2.5}, remark="cam7 broke off *once*."))

    body()
    with get_client(sync_client=True) as client:
        found = {a.key: (a.data, a.description) for a in client.read_artifacts(limit=200)}
    assert found["progress-left"] == (25.0, "score, images/s 2.5, 1 min left")
    assert found["progress-endless"] == (0.0, "score, 7 done, images/s 2.5, cam7 broke off \\*once\\*.")


def test_settings_of_a_worker_are_read_in_the_run(adapted_home):
    assert load_settings().home == adapted_home
    assert isinstance(load_settings(), Settings)


def test_a_streams_password_reaches_the_run_but_not_the_server(prefect_api, adapted_home, caplog):
    url = "rtsp://me:geheim@127.0.0.1:9/1"

    @flow
    def knows_it(request: ScoreRequest) -> bool:
        return isinstance(request.source, StreamAddress) and "geheim" in request.source.url

    request = ScoreRequest(line=LINE, images=url, watch=True)
    assert knows_it(request)
    state = flows.score.flow.score_folder(request, return_state=True)
    assert "leave watch out" in str(state.message)
    with get_client(sync_client=True) as client:
        kept = [*client.read_flow_runs(limit=200), *client.read_task_runs(limit=200), *client.read_logs()]
    told = "".join(run.model_dump_json() for run in kept) + "".join(record.getMessage() for record in caplog.records)
    assert "rtsp://127.0.0.1:9/1" in told
    assert "geheim" not in told


def test_the_command_sends_absolute_paths_through_prefect(prefect_api, adapted_home, linewise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, error = linewise("export", LINE, "pack", "--prefect")
    assert code == 0, error
    with get_client(sync_client=True) as client:
        asked = [run.parameters["request"] for run in client.read_flow_runs(limit=200) if run.name == f"export {LINE}"]
    assert str(tmp_path / "pack") in [request["destination"] for request in asked]
