"""The jobs of scoring and export as plain functions, what runs show, and flows against one real Prefect API."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

prefect = pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect import flow, task  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402
from prefect.testing.utilities import prefect_test_harness  # noqa: E402

import flows.adapt  # noqa: E402
import flows.export  # noqa: E402
import flows.meta_train  # noqa: E402
import flows.score  # noqa: E402
from deploy.bundles.registry import Registry  # noqa: E402
from deploy.engine.runtime import Device  # noqa: E402
from deploy.reports.gallery import GalleryItem  # noqa: E402
from deploy.reports.overlay import encode_jpeg  # noqa: E402
from deploy.results.store import ResultStore  # noqa: E402
from flows import artifacts, bootstrap, runs  # noqa: E402
from flows.evaluation.outputs import require_writable, rows_as_json  # noqa: E402
from flows.jobs import adapt as adapt_job  # noqa: E402
from flows.jobs import export as export_job  # noqa: E402
from flows.jobs import score as score_job  # noqa: E402
from flows.jobs import score_pictures  # noqa: E402
from flows.jobs.progress import Progress  # noqa: E402
from flows.jobs.requests import (  # noqa: E402
    AdaptNewLinesRequest,
    AdaptRequest,
    EvaluateRequest,
    ExportRequest,
    LearnerName,
    ScoreRequest,
)
from model_zoo.learner_table import LEARNERS  # noqa: E402
from pipeline.calibration import Decision  # noqa: E402
from pipeline.errors import BundleError, ConfigError, DeviceError, LineError, StorageError  # noqa: E402
from pipeline.settings import DeviceName, Settings, load_settings  # noqa: E402
from pipeline.support import AUGMENTATIONS  # noqa: E402
from pipeline.synthetic.lines import write_line  # noqa: E402

LINE = "Line_A/7"
SIZE = 64


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_line(tmp_path_factory.mktemp("lines"), 7, good=5, test_good=4, defects=6, size=96)


@pytest.fixture(scope="module")
def adapted_home(line: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with one registered line."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINEWISE_HOME", str(home))
        result = adapt_job.run(AdaptRequest(line=LINE, images=line, size=SIZE, good=3, defects=2), load_settings())
    assert result.live
    assert (result.good, result.defects) == (3, 2)
    return home


@pytest.fixture
def home(adapted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that home, for one test."""
    copied = shutil.copytree(adapted_home, tmp_path / "home")
    monkeypatch.setenv("LINEWISE_HOME", str(copied))
    monkeypatch.delenv("LINEWISE_DATABASE_URL", raising=False)
    return copied


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


# --- the jobs of scoring and export, without Prefect


def score(request: ScoreRequest) -> score_job.ScoreResult:
    return score_job.run(request, load_settings())


def export(request: ExportRequest) -> export_job.ExportResult:
    return export_job.run(request, load_settings())


def score_request(folder: Path, **changes: Any) -> ScoreRequest:
    return ScoreRequest(**({"line": LINE, "images": folder / "test", "device": DeviceName.CPU, "workers": 1} | changes))


def test_scoring_writes_rows_report_json_and_csv(home, line):
    result = score(score_request(line))
    assert result.summary.found == 10
    assert result.summary.scored == 10
    assert sum(result.summary.decisions.values()) == 10
    for path in (result.report, result.json_path, result.csv_path):
        assert path.is_relative_to(home / "reports")
    rows = json.loads(result.json_path.read_text())
    assert rows["line"] == LINE
    assert len(rows["rows"]) == 10
    assert {row["path"] for row in rows["rows"]} == {
        str(path.relative_to(line / "test")) for path in (line / "test").rglob("*.png")
    }
    assert len(result.csv_path.read_text().splitlines()) == 11
    html = result.report.read_text()
    assert "data:image/jpeg;base64," in html
    assert not re.search(r'(src|href)="https?:', html)
    with ResultStore(load_settings().database) as store:
        assert len(store.query(line=LINE)) == 10


def test_scoring_again_scores_nothing_twice(home, line):
    first = score(score_request(line))
    second = score(score_request(line))
    assert (second.summary.scored, second.summary.skipped) == (0, 10)
    assert np.allclose(first.summary.scores, second.summary.scores)
    assert second.report != first.report
    assert "had a score of this bundle already" in second.report.read_text()
    flagged = {item.name for item in first.gallery if item.decision is not Decision.PASS}
    assert {item.name for item in second.gallery} == flagged, "flagged earlier, shown with that overlay"


def test_a_schedule_does_not_fill_the_disk_with_reports(home, line, monkeypatch):
    monkeypatch.setenv("LINEWISE_KEEP_REPORTS", "2")
    own = home / "reports" / "Line_A-7" / "mine"
    own.mkdir(parents=True)
    made = [score(score_request(line)).report.parent for _ in range(3)]
    assert own.is_dir()
    assert [folder.is_dir() for folder in made].count(True) == 2


def test_outputs_go_where_the_request_says(home, line, tmp_path):
    result = score(
        score_request(line, report=tmp_path / "out" / "r.html", json_path=tmp_path / "j.json", overlays=False)
    )
    assert result.report == tmp_path / "out" / "r.html"
    assert result.csv_path == tmp_path / "out" / "r.csv"
    assert json.loads((tmp_path / "j.json").read_text())["images"] == 10
    assert not (home / "overlays").exists()


def test_an_unreadable_image_is_named_and_the_rest_scored(home, line, tmp_path):
    images = shutil.copytree(line / "test", tmp_path / "images")
    broken = images / "good" / "000.png"
    broken.write_bytes(broken.read_bytes()[:200])
    (images / "text.png").write_text("not an image")
    result = score(score_request(line, images=images))
    assert result.summary.scored == 9
    assert {file.path.name for file in result.summary.unreadable_files} == {"000.png", "text.png"}
    rows = json.loads(result.json_path.read_text())["rows"]
    assert sum(row["status"] == "unreadable" for row in rows) == 2


def test_export_and_score_the_pack_elsewhere(home, line, tmp_path, monkeypatch):
    packed = export(ExportRequest(line=LINE, destination=tmp_path / "pack"))
    assert packed.version == Registry(home).live_version(LINE)
    assert packed.files == sum(path.is_file() for path in (tmp_path / "pack").rglob("*"))
    here = score(score_request(line))
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "another machine"))
    there = score(score_request(line, bundle=tmp_path / "pack"))
    assert np.array_equal(here.summary.scores, there.summary.scores)
    with pytest.raises(BundleError, match="of line 'other'"):
        score(score_request(line, line="other", bundle=tmp_path / "pack"))
    with pytest.raises(StorageError, match="something there"):
        monkeypatch.setenv("LINEWISE_HOME", str(home))
        export(ExportRequest(line=LINE, destination=tmp_path / "pack"))


def test_one_changed_byte_in_the_bundle_stops_scoring(home, line):
    (head,) = (home / "lines").rglob("head.onnx")
    content = bytearray(head.read_bytes())
    content[len(content) // 2] ^= 1
    head.write_bytes(content)
    with pytest.raises(BundleError):
        score(score_request(line))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"images": Path("/nowhere")}, LineError, "no folder /nowhere"),
        ({"line": "nobody"}, ConfigError, "'nobody'"),
        ({"version": "v9"}, ConfigError, "'v9'"),
        ({"bundle": Path("/nowhere")}, BundleError, "an exported bundle"),
        ({"report": Path("/proc/nowhere/report.html")}, StorageError, "to write into"),
    ],
)
def test_scoring_refuses_in_one_sentence(home, line, changes, error, words):
    with pytest.raises(error, match=re.escape(words)) as refused:
        score(score_request(line, **changes))
    assert "\n" not in str(refused.value)


def test_an_empty_folder_is_refused(home, line, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LineError, match="expected image files, got none in"):
        score(score_request(line, images=tmp_path / "empty"))


def test_a_gpu_that_is_not_there_is_refused(home, line):
    from deploy.engine.runtime import resolve_device

    try:
        resolve_device(Device.CUDA)
    except DeviceError:
        with pytest.raises(DeviceError):
            score(score_request(line, device=DeviceName.CUDA))
    else:
        pytest.skip("this machine has a GPU")


def test_the_gallery_shows_the_good_patch_as_the_bank_saw_it(home, line):
    """The views of scoring are the augmentations of adaptation, whose module imports torch."""
    assert list(score_pictures.VIEWS) == list(AUGMENTATIONS)
    image = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    for name, view in score_pictures.VIEWS.items():
        assert np.array_equal(view(image), AUGMENTATIONS[name](image))


# --- names that stand in two places


def test_learner_names_are_those_of_the_table():
    assert {name.value for name in LearnerName} == set(LEARNERS)


def test_device_names_are_those_of_the_runtime():
    assert {name.value for name in DeviceName} == {device.value for device in Device}


def test_deployments_are_those_of_the_file():
    import yaml
    from prefect.flows import load_flow_from_entrypoint

    path = Path(bootstrap.__file__).parents[1] / "deploy" / "prefect.yaml"
    content = yaml.safe_load(path.read_text())
    assert tuple(deployment["name"] for deployment in content["deployments"]) == bootstrap.DEPLOYMENTS
    for deployment in content["deployments"]:
        loaded = load_flow_from_entrypoint(deployment["entrypoint"])
        assert loaded.name == deployment["name"]
        assert "request" in loaded.parameters.properties
        assert all(not schedule["active"] for schedule in deployment["schedules"])
        for parameters in [deployment.get("parameters", {})]:
            if parameters:
                loaded.validate_parameters(parameters)


@pytest.mark.parametrize("name", ["docker/compose.yaml", "kubernetes/linewise.yaml"])
def test_manifests_parse(name):
    import yaml

    documents = list(yaml.safe_load_all((Path(bootstrap.__file__).parents[1] / "deploy" / name).read_text()))
    assert all(isinstance(document, dict) for document in documents)


# --- artifacts


@pytest.mark.parametrize(
    ("parts", "key"),
    [(("adapt", "LINE_A/7"), "adapt-line-a-7"), (("x", "Ünïcode"), "x-n-code"), (("", "--"), "linewise")],
)
def test_artifact_keys_are_what_prefect_takes(parts, key):
    assert artifacts.artifact_key(*parts) == key


def test_names_are_data_and_never_markup():
    assert artifacts.plain("a|b\n[x](y) <img> `c`") == r"a\|b \[x\]\(y\) \<img\> \`c\`"


def test_gallery_inlines_small_pictures():
    rng = np.random.default_rng(0)
    jpeg = encode_jpeg(rng.integers(0, 255, (400, 300, 3), dtype=np.uint8))
    item = GalleryItem(name="a|b.png", score=1.25, decision=Decision.REJECT, image=jpeg, overlay=jpeg)
    markdown = artifacts.heat_map_gallery([item] * 20, {"a|b.png": "support:"})
    rows = markdown.splitlines()[2:]
    assert len(rows) == artifacts.MAX_PICTURES
    assert rows[0].startswith("| ![a b.png](data:image/jpeg;base64,")
    assert rows[0].endswith(r"| 1.250 | **REJECT** | *support:* a\|b.png |")
    encoded = re.findall(r"base64,([A-Za-z0-9+/=]+)\)", rows[0])
    assert len(encoded) == 2
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(encoded[0]), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert max(picture.shape[:2]) == artifacts.THUMBNAIL_SIDE


def test_figures_are_readable():
    table = artifacts.figures_table({"a": 0.123456, "b": None, "c": True, "d": "x|y", "e": 3})
    assert [row.split(" | ", 1)[1] for row in table.splitlines()[2:]] == ["0.1235 |", "– |", "yes |", r"x\|y |", "3 |"]


def test_losses_are_averaged_into_a_short_table():
    table = flows.meta_train.loss_table(tuple(float(i) for i in range(120)))
    assert len(table) == 40
    assert table[0] == {"outer step": 3, "loss": 1.0}
    assert table[-1]["outer step"] == 120


# --- evaluation files


def test_rows_as_json_is_a_list_with_null_for_undefined():
    rows = json.loads(rows_as_json([{"line": "a", "aupro": float("nan"), "image_auroc": 0.5}]))
    assert rows == [{"line": "a", "aupro": None, "image_auroc": 0.5}]


def test_outputs_that_cannot_be_written_are_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    require_writable(EvaluateRequest(lines=tmp_path, json_path=tmp_path / "new" / "rows.json"))
    for path in (tmp_path / "file" / "rows.json", tmp_path):
        with pytest.raises(StorageError):
            require_writable(EvaluateRequest(lines=tmp_path, json_path=path))


# --- against a Prefect API


def test_a_mistake_becomes_the_state_message(prefect_api, home, caplog):
    request = AdaptRequest(line=LINE, images=Path("/nowhere"), size=SIZE)
    state = flows.adapt.adapt_line(request, return_state=True)
    told = [record for record in caplog.records if "no such folder" in record.getMessage()]
    assert {record.name for record in told} >= {"prefect.task_runs", "prefect.flow_runs"}
    assert not any(record.exc_info for record in told)
    assert state.is_failed()
    assert state.message is not None
    assert state.message.startswith("expected a folder with a product line, got no such folder")
    with pytest.raises(LineError):
        state.result()


def test_scoring_run_is_named_tagged_and_shows_heat_maps(prefect_api, home, line, tmp_path):
    images = shutil.copytree(line / "test", tmp_path / "images")
    (images / "text.png").write_text("not an image")
    state = flows.score.score_folder(score_request(line, images=images), return_state=True)
    assert state.is_completed()
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        found = {a.key: a for a in client.read_artifacts(limit=200) if a.flow_run_id == run.id}
    assert run.name == f"score {LINE}"
    assert f"line:{LINE}" in run.tags
    assert {"score-line-a-7", "progress-line-a-7"} <= set(found)
    assert "data:image/jpeg;base64," in str(found["score-line-a-7"].data)
    assert found["progress-line-a-7"].data == 100.0


def test_export_run_says_what_it_wrote(prefect_api, home, tmp_path):
    state = flows.export.export(ExportRequest(line=LINE, destination=tmp_path / "pack"), return_state=True)
    assert state.is_completed()
    with get_client(sync_client=True) as client:
        (artifact,) = [a for a in client.read_artifacts(limit=200) if a.flow_run_id == state.state_details.flow_run_id]
    assert artifact.key == "export-line-a-7"
    assert "pack" in str(artifact.data)
    assert (tmp_path / "pack" / "bundle" / "head.onnx").is_file()


def test_new_lines_are_adapted_and_a_bad_one_does_not_stop_them(prefect_api, home, line):
    incoming = home / "incoming"
    shutil.copytree(line, incoming / "fresh")
    (incoming / "empty").mkdir()
    state = flows.adapt.adapt_new_lines(AdaptNewLinesRequest(size=SIZE), return_state=True)
    assert state.is_failed()
    assert "failures for empty" in str(state.message)
    assert "fresh" in Registry(home).lines()
    assert flows.adapt.new_lines(incoming) == ["empty"]


@pytest.mark.parametrize(("error", "tries"), [(StorageError("a", "b", "c"), 3), (LineError("a", "b", "c"), 1)])
def test_only_storage_trouble_is_tried_again(prefect_api, error, tries):
    calls = []

    @task(retries=2, retry_delay_seconds=0, retry_condition_fn=runs.storage_trouble)
    def work() -> None:
        calls.append(1)
        raise error

    @flow
    @runs.fails_with_a_sentence
    def body() -> None:
        work()

    state = body(return_state=True)
    assert state.message == "expected a, got b: c"
    assert isinstance(state.result(raise_on_failure=False), type(error))
    assert len(calls) == tries


def test_a_bug_is_not_dressed_up(prefect_api):
    @flow
    @runs.fails_with_a_sentence
    def body() -> None:
        raise ZeroDivisionError("our own")

    state = body(return_state=True)
    assert state.is_failed()
    assert "ZeroDivisionError: our own" in str(state.message)


def test_gpu_runs_queue_and_need_their_limit(prefect_api):
    held = []

    @flow
    @runs.fails_with_a_sentence
    def body() -> int:
        with runs.queued_for_gpu("cuda"), get_client(sync_client=True) as client:
            held.append(client.read_global_concurrency_limit_by_name(runs.GPU_LIMIT).active_slots)
        return 1

    state = body(return_state=True)
    assert "prefect gcl create linewise-gpu" in str(state.message)
    with get_client(sync_client=True) as client:
        bootstrap.create_gpu_queue(client)
        bootstrap.create_gpu_queue(client)
    assert body() == 1
    assert held == [1]

    @flow
    @runs.fails_with_a_sentence
    def on_two() -> None:
        with runs.queued_for_gpu("cuda", places=2):
            pass

    assert "at least 2, one for each process, got 1: run `prefect gcl update" in str(on_two(return_state=True).message)


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


def test_settings_of_a_worker_are_read_in_the_run(home):
    assert load_settings().home == home
    assert isinstance(load_settings(), Settings)
