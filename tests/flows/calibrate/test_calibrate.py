"""Calibration of a line in use: the same head, another threshold, told and registered."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.bundles.bundle import Bundle
from deploy.bundles.facts import all_facts
from deploy.bundles.registry import Registry
from flows.calibrate import job
from flows.calibrate.new_images import Kind
from flows.calibrate.request import CalibrateRequest
from flows.score import job as score_job
from pipeline.calibration import Decision
from pipeline.errors import ConfigError, LineError
from pipeline.settings import load_settings
from pipeline.storage import sha256_file
from pipeline.synthetic.lines import write_line
from tests.flows.adapted_home import LINE, score_request
from tests.flows.command import Command


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More images of the line that the home knows."""
    return write_line(tmp_path_factory.mktemp("production"), 7, good=5, test_good=30, defects=6, size=96)


def calibrate(images: Path, **changes: object) -> job.CalibrateResult:
    return job.run(CalibrateRequest.asked(line=LINE, images=images, device="cpu", **changes), load_settings())


def live() -> Bundle:
    return Registry(load_settings().home).live(LINE)


def test_the_head_stays_and_the_threshold_is_that_of_the_new_images(production: Path, adapted_home: Path) -> None:
    before = live()
    result = calibrate(production, target_false_reject_rate=0.05)
    manifest = result.bundle.manifest
    assert result.live
    assert live().id == result.bundle.id != before.id
    assert result.bundle.head_sha256 == before.head_sha256
    assert manifest.threshold.method == "distribution-free limit"
    assert manifest.threshold.reject != before.manifest.threshold.reject
    again = manifest.calibration
    assert again is not None
    assert again.calibrated_from == before.manifest.version == manifest.lineage.parent
    assert manifest.support == before.manifest.support
    known = {*manifest.support.good, *manifest.support.defects}
    assert not known & {*again.good, *again.defects}
    files = [path for path in production.rglob("*.png") if "ground_truth" not in path.parts]
    met = sum(sha256_file(path) in known for path in files)
    assert met
    assert again.left_out["known from adaptation"] == met
    assert any("known from adaptation" in remark for remark in result.remarks)
    good, defects = result.rejected
    assert (good.kind, good.images) == (Kind.GOOD, len(again.good))
    assert (defects.kind, defects.images) == (Kind.DEFECT, len(again.defects))
    assert len(again.good) >= 19
    assert manifest.promise is not None
    assert manifest.promise.known_defects == defects.images
    assert manifest.promise.known_defects_passed == defects.images - defects.after


def test_it_rejects_in_production_what_it_said(production: Path, adapted_home: Path) -> None:
    images = production / "test" / "good"
    result = calibrate(images, unlabelled=True)
    (told,) = result.rejected
    assert (told.kind, told.images) == (Kind.UNLABELLED, 30)
    counts = [
        score_job.run(score_request(line, images=images, version=version), load_settings()).summary.counts
        for line, version in ((production, result.bundle.manifest.calibration.calibrated_from), (production, None))  # type: ignore[union-attr]
    ]
    assert [count.decisions[Decision.REJECT] for count in counts] == [told.before, told.after]
    facts = {fact.key: fact.value for fact in all_facts(result.bundle.manifest)}
    assert facts["threshold_method"] == "prediction interval, on 30 scores of unlabelled images"
    assert facts["calibrated_from"].startswith(
        "from 30 unlabelled images that it was not adapted from, with the head of"
    )


def test_what_cannot_be_used_is_left_out_and_told(production: Path, adapted_home: Path, tmp_path: Path) -> None:
    images = shutil.copytree(production / "test" / "good", tmp_path / "images")
    first = min(images.iterdir())
    shutil.copy(first, images / "copy.png")
    (images / "broken.png").write_bytes(b"no image")
    result = calibrate(images, unlabelled=True)
    again = result.bundle.manifest.calibration
    assert again is not None
    assert again.left_out == {"equal to another": 1, "unreadable": 1}
    assert sha256_file(first) in again.unlabelled
    assert any(remark.startswith("Left out as unreadable: broken.png: ") for remark in result.remarks)


def test_least_area_and_rate_are_the_versions_own_and_it_is_live_only_where_asked(
    production: Path, adapted_home: Path
) -> None:
    before = live()
    result = calibrate(production, promote=False)
    assert not result.live
    assert live().id == before.id
    old, new = before.manifest.threshold, result.bundle.manifest.threshold
    assert (new.target_false_reject_rate, new.least_area) == (old.target_false_reject_rate, old.least_area)
    twice = calibrate(production, version=result.bundle.manifest.version)
    assert twice.before == new
    assert twice.bundle.manifest.threshold == new
    assert twice.bundle.manifest.calibration is not None
    assert twice.bundle.manifest.calibration.calibrated_from == result.bundle.manifest.version


def test_images_that_it_was_adapted_from_are_no_calibration(line: Path, adapted_home: Path, tmp_path: Path) -> None:
    known = live().manifest.support.good
    folder = tmp_path / "line" / "good"
    folder.mkdir(parents=True)
    for path in (line / "train" / "good").iterdir():
        if sha256_file(path) in known:
            shutil.copy(path, folder / path.name)
    with pytest.raises(LineError, match="at least 4 good images that the line was not adapted from, got 0"):
        calibrate(tmp_path / "line")
    with pytest.raises(LineError, match="at least 12 unlabelled images"):
        calibrate(folder, unlabelled=True)
    with pytest.raises(LineError, match="a folder of unlabelled images"):
        calibrate(tmp_path / "nowhere", unlabelled=True)
    (tmp_path / "week.zip").write_bytes(b"PK")
    with pytest.raises(LineError, match=r"got a file, .*week\.zip: unpack it, and name the folder that comes out"):
        calibrate(tmp_path / "week.zip", unlabelled=True)
    with pytest.raises(ConfigError, match="'nobody'"):
        job.run(CalibrateRequest(line="nobody", images=folder), load_settings())


def test_too_few_defects_for_the_share_are_refused_before_the_work(production: Path, adapted_home: Path) -> None:
    stages: list[str] = []
    for changes, got in (
        ({"missed_defects": 0.1}, "got 6, which"),
        ({"missed_defects": 0.5, "unlabelled": True}, "got none"),
    ):
        request = CalibrateRequest.asked(line=LINE, images=production, device="cpu", **changes)
        with pytest.raises(ConfigError, match=got):
            job.run(request, load_settings(), lambda progress: stages.append(progress.stage))
    assert not stages


def test_why_images_are_left_out_is_said_once(production: Path, adapted_home: Path, tmp_path: Path) -> None:
    shutil.copytree(production / "test" / "good", tmp_path / "images")
    shutil.copytree(write_line(tmp_path, 1, good=1, test_good=1, defects=0, size=96), tmp_path / "images" / "other")
    told = " ".join(calibrate(tmp_path / "images", unlabelled=True).remarks)
    assert "Left out as unlike the line: other/" in told
    assert told.count("unlike the line") == 1


def test_the_command_tells_before_and_after(
    linewise: Command, production: Path, adapted_once: Path, home: Path
) -> None:
    shutil.copytree(adapted_once, home)
    before = live().manifest.threshold.reject
    code, out, _ = linewise("calibrate", LINE, production, "--device", "cpu", "--target-false-reject-rate", "0.05")
    assert code == 0
    assert f"REJECT from a score of {live().manifest.threshold.reject:.6g}, before from {before:.6g}" in out
    assert "good images" in out
    assert "would be rejected, before" in out
    assert "Set anew: from" in out


def test_a_machine_that_only_scores_is_told_what_to_install(
    linewise: Command, production: Path, adapted_once: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(adapted_once, home)
    for module in ("scipy", "scipy.special"):
        monkeypatch.setitem(sys.modules, module, None)
    code, _, error = linewise("calibrate", LINE, production, "--device", "cpu")
    assert code == 2
    assert "got no module scipy: run pip install 'linewise[full]'" in error


def frames_of(folder: Path, images: list[Path], times: int) -> Path:
    """A video of parts: so many frames of each, a little noise in between."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, path in enumerate(images):
        part = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert part is not None
        for frame in range(times):
            noisy = (part + rng.normal(0, 0.7, part.shape)).clip(0, 255).astype(np.uint8)
            assert cv2.imwrite(str(folder / f"{number:03}_{frame}.png"), noisy)
    return folder


def test_a_part_counts_once_however_often_it_is_shown(production: Path, adapted_home: Path, tmp_path: Path) -> None:
    parts = sorted((production / "test" / "good").iterdir())
    result = calibrate(frames_of(tmp_path / "video", parts, 3), unlabelled=True)
    again = result.bundle.manifest.calibration
    assert again is not None
    assert len(again.unlabelled) == len(parts)
    assert again.left_out["showing a part again"] == 2 * len(parts)
    told = f", and {2 * len(parts) - 1} more."
    assert [r for r in result.remarks if r.startswith("Left out as showing a part again: ") and r.endswith(told)]


def test_frames_of_the_parts_that_were_learned_set_no_threshold(
    production: Path, adapted_home: Path, tmp_path: Path
) -> None:
    known = {*live().manifest.support.good}
    learned = [path for path in production.rglob("*.png") if sha256_file(path) in known]
    others = sorted((production / "test" / "good").iterdir())[:13]
    result = calibrate(frames_of(tmp_path / "video", [*learned, *others], 1), unlabelled=True)
    again = result.bundle.manifest.calibration
    assert again is not None
    assert len(again.unlabelled) == len(others)
    assert again.left_out == {"showing a part again": len(learned)}, result.remarks
