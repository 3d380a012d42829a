"""When a line is due for an adaptation, and with which settings: asked of the registry, the store and the folder."""

from __future__ import annotations

import os
import resource
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.bundles.manifest import BundleDraft, SupportRecord
from deploy.bundles.registry import Registry
from deploy.results.records import NewResult
from deploy.results.schema import ResultStatus, Verdict
from deploy.results.store import ResultStore
from deploy.results.verdict_files import verdict_on
from flows.life.due_lines import Due, Waiting, look_at
from flows.life.line_folders import line_folders, state_of
from flows.life.line_notes import LineNote, is_first_sight, read_note, tending, write_note
from flows.life.request import TendRequest
from pipeline.calibration import Decision
from pipeline.errors import LineError, StorageError
from pipeline.held_back import is_held_back
from pipeline.product_lines.lines import load_line
from pipeline.settings import Settings, load_settings
from pipeline.storage import sha256_file
from tests.parts.plant import bundle_files, head_graph, make_draft, make_spec, write_backbone, write_image
from tests.parts.spotted_line import write_spotted_line

LINE = "caps"
LONG_AGO = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("LINEWISE_DATABASE_URL", raising=False)
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    return load_settings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_spotted_line(tmp_path / "plant" / LINE, good=4, defects=2)


def register(settings: Settings, *versions: str, **changes: Any) -> Registry:
    """Versions of the line, the latest of them live."""
    registry = Registry(settings.home)
    artefact = registry.add_backbone(write_backbone(settings.home.parent / "export", size=64))
    for number, version in enumerate(versions):
        draft = make_draft(
            line=LINE, spec=make_spec(size=64), version=version, onnx_sha256=artefact.onnx_sha256, created_at=LONG_AGO
        )
        update = {"created_at": LONG_AGO + timedelta(minutes=number), **changes}
        draft = BundleDraft.model_validate({**draft.model_dump(), **update})
        registry.add(draft, {**bundle_files(), "head.onnx": head_graph(size=64)})
        registry.promote(LINE, version)
    return registry


def promote_another(settings: Settings) -> None:
    """Version v2, after v1."""
    registry = Registry(settings.home)
    graph = registry.live(LINE).manifest.backbone.onnx_sha256
    draft = make_draft(line=LINE, version="v2", spec=make_spec(size=64), onnx_sha256=graph, created_at=LONG_AGO)
    registry.add(draft, {**bundle_files(), "head.onnx": head_graph(size=64)})
    registry.promote(LINE, "v2")


def look(settings: Settings, folder: Path, **changes: Any) -> Due | Waiting:
    asked = {"folder": folder.parent, "quiet_seconds": 0, "new_verdicts": 2, "least_production": 3} | changes
    return look_at(LINE, folder, TendRequest(**asked), settings)


def waiting(settings: Settings, folder: Path, **changes: Any) -> str:
    found = look(settings, folder, **changes)
    assert isinstance(found, Waiting), found
    return found.why


def due(settings: Settings, folder: Path, **changes: Any) -> Due:
    found = look(settings, folder, **changes)
    assert isinstance(found, Due), found
    return found


def judge(settings: Settings, *paths: Path) -> None:
    with ResultStore(settings.database) as store:
        store.add_verdicts(verdict_on(path, LINE, Verdict.GOOD) for path in paths)


def score(settings: Settings, folder: Path, count: int, at: datetime | None = None, seed: int = 0) -> list[Path]:
    """Rows of so many images of the production that no gate keeps for itself."""
    bundle = Registry(settings.home).live(LINE)
    paths: list[Path] = []
    while len(paths) < count:
        seed += 1
        path = write_image(folder.parent.parent / "shots" / f"{seed}.png", brightness=30, seed=seed)
        if not is_held_back(sha256_file(path)):
            paths.append(path)
    with ResultStore(settings.database) as store:
        run = store.begin_run(bundle, folder, device="cpu", workers=1)
        store.add(
            NewResult(
                run_id=run,
                line=LINE,
                bundle_id=bundle.id,
                bundle_version=bundle.manifest.version,
                image_path=str(path),
                image_sha256=sha256_file(path),
                status=ResultStatus.SCORED,
                reason=None,
                score=0.1,
                decision=Decision.PASS,
                reject_threshold=2.0,
                review_threshold=1.0,
                overlay_path=None,
                scored_at=at or datetime.now(UTC),
            )
            for path in paths
        )
    return paths


# --- new lines ------------------------------------------------------------------------------------------------------


def test_a_new_line_is_due_once_it_has_enough_quiet_good_images(settings: Settings, folder: Path) -> None:
    assert waiting(settings, folder, least_good=5) == "4 good images so far, of 5 that a new line begins with"
    found = look(settings, folder, quiet_seconds=3600)
    assert isinstance(found, Waiting)
    assert found.again_in is not None
    assert 0 < found.again_in <= 3600
    request = due(settings, folder, size=64).request
    assert (request.line, request.images, request.size, request.gate) == (LINE, folder, 64, True)


def test_a_folder_without_good_parts_waits_and_says_what_it_lacks(settings: Settings, tmp_path: Path) -> None:
    write_image(tmp_path / "plant" / LINE / "shot.png", brightness=20)
    assert "a product line with train/good/" in waiting(settings, tmp_path / "plant" / LINE)


def test_lines_of_a_data_set_are_found_by_both_names(folder: Path) -> None:
    plant = folder.parent
    shutil.copytree(folder, plant / "bottling" / "corks")
    (plant / "camera 3").mkdir()
    (plant / ".trash").mkdir()
    found = line_folders(plant)
    assert found == {
        "bottling/corks": plant / "bottling" / "corks",
        "camera 3": plant / "camera 3",
        "caps": plant / "caps",
    }
    with pytest.raises(LineError, match="a folder for each line"):
        line_folders(plant / "nowhere")


def test_what_failed_is_tried_again_when_something_changed(settings: Settings, folder: Path) -> None:
    note = due(settings, folder).note
    write_note(settings, LINE, note.model_copy(update={"ended": True, "problem": "expected images"}))
    assert waiting(settings, folder) == "nothing changed since it failed: expected images"
    os.utime(next((folder / "train" / "good").iterdir()), (time.time() + 5, time.time() + 5))
    assert due(settings, folder).why.startswith("new, ")


def test_what_was_killed_is_tried_again_three_times(settings: Settings, folder: Path) -> None:
    for tries in (1, 2, 3):
        note = due(settings, folder).note
        assert note.tries == tries
        write_note(settings, LINE, note)
    assert waiting(settings, folder) == "3 adaptations did not end, and nothing changed since"


# --- live lines -----------------------------------------------------------------------------------------------------


def test_verdicts_make_a_live_line_due_once(settings: Settings, folder: Path) -> None:
    register(settings, "v1")
    shots = score(settings, folder, 2)
    judge(settings, shots[0])
    assert waiting(settings, folder, every_hours=100) == (
        "1 of 2 new verdicts, and its newest version is younger than 100 hours"
    )
    judge(settings, shots[1])
    found = due(settings, folder, every_hours=100)
    assert (found.why, found.request.verdicts, found.request.production_hours) == ("2 new verdicts", True, None)
    ended = found.note.model_copy(update={"at": datetime.now(UTC), "ended": True})
    write_note(settings, LINE, ended)
    assert waiting(settings, folder, every_hours=100).startswith("0 of 2 new verdicts")


def test_production_makes_a_live_line_due_once_a_day(settings: Settings, folder: Path) -> None:
    register(settings, "v1")
    score(settings, folder, 2)
    assert waiting(settings, folder) == "0 of 2 new verdicts, and fewer than 3 new images of its production"
    score(settings, folder, 1, seed=50)
    assert waiting(settings, folder, every_hours=100).endswith("younger than 100 hours")
    found = due(settings, folder)
    assert (found.why, found.request.production_hours) == ("its production since the newest version", 168.0)
    assert due(settings, folder, every_hours=100, drifted=True).why == "its production drifted"


def test_images_that_an_earlier_version_scored_are_no_new_production(settings: Settings, folder: Path) -> None:
    register(settings, "v1")
    score(settings, folder, 4, at=LONG_AGO - timedelta(hours=1))
    promote_another(settings)
    score(settings, folder, 4)  # the same ones again, by the version that is live now
    assert waiting(settings, folder).endswith("fewer than 3 new images of its production")


def test_after_a_roll_back_only_new_verdicts_make_a_line_due(settings: Settings, folder: Path) -> None:
    registry = register(settings, "v1", "v2")
    shots = score(settings, folder, 5)
    judge(settings, *shots[:2])
    registry.roll_back(LINE, by="Ada", why="misses scratches")
    assert waiting(settings, folder) == "it was rolled back, and 0 of 2 new verdicts came since"
    judge(settings, *shots[2:4])
    found = due(settings, folder)
    assert found.why == "2 new verdicts since it was rolled back"
    assert found.request.production_hours is None


def test_a_line_without_a_live_version_is_a_person_s_matter_until_its_folder_changes(
    settings: Settings, folder: Path
) -> None:
    registry = register(settings, "v1")
    (registry.home / "lines" / LINE / "live.json").unlink()
    assert waiting(settings, folder) == "none of its versions is live: promote one"
    write_note(settings, LINE, LineNote(at=datetime.now(UTC), folder=state_of(load_line(folder)), ended=True))
    assert waiting(settings, folder) == "its version is held, and nothing changed since"
    write_spotted_line(folder, good=5, seed=3)
    assert due(settings, folder).why == "changed since its version was held"


def test_a_live_line_keeps_its_settings(settings: Settings, folder: Path) -> None:
    registry = Registry(settings.home)
    artefact = registry.add_backbone(write_backbone(settings.home.parent / "export", size=64))
    draft = make_draft(line=LINE, spec=make_spec(size=64), onnx_sha256=artefact.onnx_sha256)
    threshold = {
        **draft.model_dump()["threshold"],
        "target_missed_defect_rate": 0.1,
        "least_area": 0.25,
        "millimetres_per_pixel": 0.5,
    }
    changes = {"threshold": threshold, "created_at": LONG_AGO, "support": SupportRecord(good=("b" * 64,))}
    draft = BundleDraft.model_validate({**draft.model_dump(), **changes})
    registry.add(draft, {**bundle_files(), "head.onnx": head_graph(size=64)})
    registry.promote(LINE, "v1")
    score(settings, folder, 3)
    found = due(settings, folder, size=512, learner="auto").request
    assert (found.learner.value, found.backbone, found.size) == ("memory_bank", "average_pool", 64)
    assert (found.seed, found.any_angle, found.region) == (7, False, None)
    assert (found.missed_defects, found.millimetres_per_pixel) == (0.1, 0.5)
    assert found.least_defect_area == pytest.approx(0.25 * 64 * 64 * 0.25)


# --- locks and sights -----------------------------------------------------------------------------------------------


def test_one_at_a_time_tends_a_line(settings: Settings) -> None:
    with tending(settings, LINE) as ours, tending(settings, LINE) as theirs, tending(settings, "corks") as other:
        assert (ours, theirs, other) == (True, False, True)
    with tending(settings, LINE) as again:
        assert again


def test_a_lock_that_cannot_be_opened_is_no_process_at_the_line(settings: Settings) -> None:
    with tending(settings, LINE) as ours:
        assert ours
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
    try:
        with pytest.raises(StorageError, match="Too many open files"), tending(settings, LINE):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))


def test_a_line_is_met_once_and_a_damaged_note_is_none(settings: Settings) -> None:
    assert is_first_sight(settings, "a/b")
    assert not is_first_sight(settings, "a/b")
    assert is_first_sight(settings, "a-b")
    write_note(settings, LINE, LineNote(at=datetime.now(UTC), folder="x"))
    (settings.home / "tending" / LINE / "note.json").write_text("{")
    assert read_note(settings, LINE) is None
