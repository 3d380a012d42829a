"""Scoring and export as plain functions, without Prefect."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from deploy.bundles.manifest import BundleDraft
from deploy.bundles.registry import Registry
from deploy.results.store import ResultStore
from flows.export import job as export_job
from flows.export.request import ExportRequest
from flows.progress import Progress
from flows.score import job as score_job
from flows.score.request import ScoreRequest
from pipeline.calibration import Decision
from pipeline.errors import BundleError, ConfigError, DeviceError, LineError, StorageError
from pipeline.settings import Device, load_settings
from tests.flows.adapted_home import LINE, score_request


def score(request: ScoreRequest) -> score_job.ScoreResult:
    return score_job.run(request, load_settings())


def export(request: ExportRequest) -> export_job.ExportResult:
    return export_job.run(request, load_settings())


def test_scoring_writes_rows_report_json_and_csv(adapted_home, line):
    result = score(score_request(line))
    assert result.summary.counts.found == 10
    assert result.summary.counts.scored == 10
    assert sum(result.summary.counts.decisions.values()) == 10
    for path in (result.report, result.json_path, result.csv_path):
        assert path.is_relative_to(adapted_home / "reports")
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


def test_scoring_again_scores_nothing_twice(adapted_home, line):
    first = score(score_request(line))
    second = score(score_request(line))
    assert (second.summary.counts.scored, second.summary.counts.skipped) == (0, 10)
    assert np.allclose(first.summary.scores, second.summary.scores)
    assert second.report != first.report
    assert "had a score of this bundle already" in second.report.read_text()
    flagged = {item.name for item in first.gallery if item.decision is not Decision.PASS}
    assert {item.name for item in second.gallery} == flagged, "flagged earlier, shown with that overlay"


def test_a_schedule_does_not_fill_the_disk_with_reports(adapted_home, line, monkeypatch):
    monkeypatch.setenv("LINEWISE_KEEP_REPORTS", "2")
    own = adapted_home / "reports" / "Line_A-7" / "mine"
    own.mkdir(parents=True)
    made = [score(score_request(line)).report.parent for _ in range(3)]
    assert own.is_dir()
    assert [folder.is_dir() for folder in made].count(True) == 2


def test_outputs_go_where_the_request_says(adapted_home, line, tmp_path):
    result = score(
        score_request(line, report=tmp_path / "out" / "r.html", json_path=tmp_path / "j.json", overlays=False)
    )
    assert result.report == tmp_path / "out" / "r.html"
    assert result.csv_path == tmp_path / "out" / "r.csv"
    assert json.loads((tmp_path / "j.json").read_text())["images"] == 10
    assert not (adapted_home / "overlays").exists()


def test_an_unreadable_image_is_named_and_the_rest_scored(adapted_home, line, tmp_path):
    images = shutil.copytree(line / "test", tmp_path / "images")
    broken = images / "good" / "000.png"
    broken.write_bytes(broken.read_bytes()[:200])
    (images / "text.png").write_text("not an image")
    result = score(score_request(line, images=images))
    assert result.summary.counts.scored == 9
    assert {file.path.name for file in result.summary.unreadable_files} == {"000.png", "text.png"}
    rows = json.loads(result.json_path.read_text())["rows"]
    assert sum(row["status"] == "unreadable" for row in rows) == 2


def test_a_promotion_meanwhile_is_said_once_and_in_the_report(adapted_home, line, tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.scoring.promotion._LOOK_SECONDS", 0.0)
    monkeypatch.setattr("deploy.scoring.reporting._PROGRESS_SECONDS", 0.0)
    registry = Registry(adapted_home)
    began_with = registry.live(LINE)
    draft = began_with.manifest.model_copy(update={"version": "later"})
    files = {name: began_with.path / name for name in began_with.manifest.files if name != "card.md"}
    told: list[str] = []

    def promote_meanwhile(progress: Progress) -> None:
        told.append(progress.remark)
        if progress.stage == "score" and registry.live_version(LINE) != "later":
            registry.add(BundleDraft.model_validate(draft.model_dump(include=set(BundleDraft.model_fields))), files)
            registry.promote(LINE, "later")

    result = score_job.run(score_request(line), load_settings(), promote_meanwhile)
    version = began_with.manifest.version
    sentence = f"This run goes on with version {version} of {LINE}, but later is live now: begin it again, or take"
    assert told[0] == ""
    assert told[-1].startswith(sentence)
    assert result.version == version
    assert sentence in result.report.read_text()
    named = score_job.run(score_request(line, version=version), load_settings())
    assert "is live now" not in named.report.read_text(), "who names a version wants that one"


def test_export_and_score_the_pack_elsewhere(adapted_home, line, tmp_path, monkeypatch):
    packed = export(ExportRequest(line=LINE, destination=tmp_path / "pack"))
    assert packed.version == Registry(adapted_home).live_version(LINE)
    assert packed.files == sum(path.is_file() for path in (tmp_path / "pack").rglob("*"))
    here = score(score_request(line))
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "another machine"))
    there = score(score_request(line, bundle=tmp_path / "pack"))
    assert np.array_equal(here.summary.scores, there.summary.scores)
    with pytest.raises(BundleError, match="of line 'other'"):
        score(score_request(line, line="other", bundle=tmp_path / "pack"))
    with pytest.raises(StorageError, match="something there"):
        monkeypatch.setenv("LINEWISE_HOME", str(adapted_home))
        export(ExportRequest(line=LINE, destination=tmp_path / "pack"))


def test_one_changed_byte_in_the_bundle_stops_scoring(adapted_home, line):
    (head,) = (adapted_home / "lines").rglob("head.onnx")
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
def test_scoring_refuses_in_one_sentence(adapted_home, line, changes, error, words):
    with pytest.raises(error, match=re.escape(words)) as refused:
        score(score_request(line, **changes))
    assert "\n" not in str(refused.value)


def test_an_empty_folder_is_refused(adapted_home, line, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LineError, match="expected image files, got none in"):
        score(score_request(line, images=tmp_path / "empty"))


def test_a_gpu_that_is_not_there_is_refused(adapted_home, line):
    from deploy.engine.devices import resolve_device

    try:
        resolve_device(Device.CUDA)
    except DeviceError:
        with pytest.raises(DeviceError):
            score(score_request(line, device=Device.CUDA))
    else:
        pytest.skip("this machine has a GPU")
