"""Scoring runs that stop early: full disks, failing engines, signals; what was committed is kept."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import pytest

from deploy.results.schema import RunStatus
from deploy.results.store import ResultStore
from deploy.scoring.image_result import ImageResult, ImageView
from deploy.scoring.tally import ScoringProgress
from pipeline.calibration import Decision
from pipeline.errors import StorageError
from tests.checkout import REPOSITORY
from tests.deploy.scoring_plant import CountingEngine, Plant, score_folder
from tests.parts.plant import mounted_tmpfs, write_image
from tests.parts.whole_plant import look_all_the_time


def test_a_full_disk_stops_the_run_and_keeps_what_was_committed(plant: Plant) -> None:
    for seed in range(700):
        write_image(plant.images / f"{seed:03}.png", brightness=seed % 100, seed=seed, size=16)
    with mounted_tmpfs(plant.root / "small", kilobytes=480) as folder:
        with ResultStore(folder / "r.sqlite") as store:
            with pytest.raises(StorageError, match="full disk"):
                score_folder(plant.bundle, plant.engine, plant.images, store, workers=2)
            kept = {row.image_sha256: row.scored_at for row in store.query(limit=None)}
            assert 0 < len(kept) < 700
        for path in folder.iterdir():
            shutil.copy(path, plant.root / path.name)
    engine = CountingEngine(plant.engine)
    with ResultStore(plant.root / "r.sqlite") as store:
        summary = score_folder(plant.bundle, engine, plant.images, store, workers=2)
        rows = {row.image_sha256: row.scored_at for row in store.query(limit=None)}
    assert (summary.counts.skipped, summary.counts.scored, engine.images) == (
        len(kept),
        700 - len(kept),
        700 - len(kept),
    )
    assert len(rows) == 700
    assert kept.items() <= rows.items()


def test_a_full_disk_for_overlays_stops_the_run(plant: Plant) -> None:
    for seed in range(60):
        write_image(plant.images / f"{seed:03}.png", brightness=200, seed=seed, size=200)
    with mounted_tmpfs(plant.root / "small", kilobytes=64) as folder:
        with pytest.raises(StorageError, match="full disk"):
            plant.score(overlays=folder / "overlays")
        assert not list(folder.rglob("*.partial"))
        for path in folder.rglob("*.jpg"):
            assert cv2.imread(str(path)) is not None, "whole or not at all"
    (run,) = plant.store.runs()
    assert run.status is RunStatus.FAILED
    assert len(plant.store.query(run_id=run.id)) == run.scored


def test_a_failing_engine_ends_the_run_with_its_own_error(plant: Plant) -> None:
    for seed in range(30):
        write_image(plant.images / f"{seed:03}.png", brightness=10, seed=seed)

    def fail(count: int) -> None:
        if count > 20:
            raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="the device is gone"):
        score_folder(plant.bundle, CountingEngine(plant.engine, fail), plant.images, plant.store, workers=2)
    (run,) = plant.store.runs()
    assert run.status is RunStatus.FAILED
    assert len(plant.store.query()) == run.scored
    assert plant.score().counts.scored == 30 - (run.scored or 0)


def test_an_interrupted_run_keeps_what_was_finished(plant: Plant) -> None:
    for seed in range(150):
        write_image(plant.images / f"{seed:03}.png", brightness=10, seed=seed)
    finished: list[Path] = []

    def interrupt(result: ImageResult, _: ImageView | None) -> None:
        finished.append(result.path)
        if len(finished) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plant.score(on_result=interrupt)
    (run,) = plant.store.runs()
    assert run.status is RunStatus.CANCELLED
    assert 10 <= len(finished) < 150
    assert {row.image_path for row in plant.store.query()} == {str(path) for path in finished}
    assert plant.score().counts.scored == 150 - len(finished)


def test_what_fails_while_a_run_is_ended_is_told_with_it(plant: Plant) -> None:
    for seed in range(4):
        write_image(plant.images / f"{seed:03}.png", brightness=200 if seed else 10, seed=seed)
    begun, ended = threading.Event(), threading.Event()

    class Failing(CountingEngine):
        def score_mixed(self, names, images_BHWC, /):
            if images_BHWC.max() > 100:
                begun.set()
                assert ended.wait(60)
                raise RuntimeError("the device is gone")
            assert begun.wait(60)  # so that the first result comes while another image is being scored
            return super().score_mixed(names, images_BHWC)

    def interrupt(*_: object) -> None:
        ended.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        score_folder(
            plant.bundle,
            Failing(plant.engine),
            plant.images,
            plant.store,
            workers=2,
            on_result=interrupt,
        )
    assert set(caught.value.__notes__) == {"Then, while ending the run: the device is gone"}
    assert plant.store.runs()[0].status is RunStatus.CANCELLED


def test_a_file_that_goes_away_is_drawn_as_the_model_saw_it(plant: Plant) -> None:
    path = write_image(plant.images / "0.png", brightness=250, size=200)
    gone = CountingEngine(plant.engine, lambda _: path.unlink())
    overlays = plant.root / "overlays"
    summary = score_folder(plant.bundle, gone, plant.images, plant.store, workers=1, overlays=overlays)
    (picture,) = overlays.rglob("*.jpg")
    assert summary.flagged[0].overlay_path == picture
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.shape == (32, 32, 3), "at the model's size, which is all that is left"


SCORING_PROCESS = """
import sys, time
from itertools import count
from pathlib import Path
from deploy.bundles.registry import Registry
from deploy.results.store import ResultStore
from deploy.engine.runtime import ScoringEngine
from deploy.scoring.scorer import score_images
from deploy.scoring.sources.folder import FolderSource

root = Path(sys.argv[1])
deployment = Registry(root / "home").deployment("mvtec/pill")

scored = count()

class SlowEngine(ScoringEngine):
    def score_mixed(self, names, images):
        time.sleep(float(sys.argv[2]) if next(scored) < 150 else 1.0)  # whoever wants to stop it need not hurry
        return super().score_mixed(names, images)

engine = SlowEngine(deployment.backbone, "cpu")
engine.add_head("mvtec/pill", deployment.bundle.head_path)
with ResultStore(root / "results.sqlite") as store:
    score_images(
        deployment.bundle,
        engine,
        FolderSource(root / "images"),
        store,
        workers=2,
        overlays=root / "overlays",
        on_progress=lambda progress: print(progress.done, flush=True),
    )
"""


def start_scoring(plant: Plant, *, seconds_an_image: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCORING_PROCESS, str(plant.root), str(seconds_an_image)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_rows(plant: Plant, count: int, process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 120
    connection = sqlite3.connect(plant.root / "results.sqlite")
    while connection.execute("SELECT count(*) FROM results").fetchone()[0] < count:
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no rows came"
        time.sleep(0.02)
    connection.close()


def test_kill_9_at_any_moment_loses_nothing_reported_and_duplicates_nothing(plant: Plant) -> None:
    for seed in range(600):
        write_image(plant.images / f"{seed:03}.png", brightness=180 if seed % 50 == 0 else 20, seed=seed, size=16)
    moments = random.Random(0)
    kept: dict[str | None, tuple[object, ...]] = {}
    for kill in range(3):
        process = start_scoring(plant, seconds_an_image=0.01)
        assert process.stdout is not None
        reported = 0
        while reported <= len(kept):  # skips what is there, then reports something new
            line = process.stdout.readline()
            assert line, process.communicate()
            reported = int(line)
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        rest, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was killed in the middle"
        reported = max([reported, *map(int, rest.rpartition("\n")[0].split())])
        rows = plant.store.query(limit=None)
        assert len(rows) == len({row.image_sha256 for row in rows})
        before, kept = kept, {row.image_sha256: (row.id, row.score, row.scored_at) for row in rows}
        assert before.items() <= kept.items()
        assert reported <= len(kept) < 600
        assert [run.status for run in plant.store.runs()] == [RunStatus.RUNNING] * (kill + 1)

    engine = CountingEngine(plant.engine)
    summary = score_folder(plant.bundle, engine, plant.images, plant.store, workers=2, overlays=plant.root / "overlays")
    assert (summary.counts.scored, summary.counts.skipped, engine.images) == (
        600 - len(kept),
        len(kept),
        600 - len(kept),
    )
    assert summary.counts.decisions == {Decision.PASS: 588, Decision.REVIEW: 0, Decision.REJECT: 12}
    rows = plant.store.query(limit=None)
    assert len(rows) == len({row.image_sha256 for row in rows}) == 600
    assert kept.items() <= {row.image_sha256: (row.id, row.score, row.scored_at) for row in rows}.items()
    pictures = {str(path) for path in (plant.root / "overlays").rglob("*.jpg")}
    assert pictures == {row.overlay_path for row in rows if row.decision is Decision.REJECT}


def test_progress_counts_only_what_is_committed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    look_all_the_time(monkeypatch)
    for seed in range(30):
        write_image(plant.images / f"{seed:03}.png", brightness=200, seed=seed, size=16)
    told: list[tuple[int, int, int]] = []

    def look(progress: ScoringProgress) -> None:
        told.append((progress.done, progress.flagged, len(plant.store.query())))

    def wait_for_a_commit(count: int) -> None:
        if count == 20:
            wait_for_rows(plant, 1)

    engine = CountingEngine(plant.engine, wait_for_a_commit)
    score_folder(plant.bundle, engine, plant.images, plant.store, workers=1, on_progress=look)
    assert all(done == flagged <= rows for done, flagged, rows in told)
    assert told[-1] == (30, 30, 30)
    assert {done for done, _, _ in told} - {0, 30}, "on the way it says something too"


def test_control_c_ends_a_real_process_with_its_rows(plant: Plant) -> None:
    for seed in range(600):
        write_image(plant.images / f"{seed:03}.png", brightness=20, seed=seed, size=16)
    process = start_scoring(plant, seconds_an_image=0.02)
    wait_for_rows(plant, 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    (run,) = plant.store.runs()
    assert run.status is RunStatus.CANCELLED
    assert len(plant.store.query(limit=None)) == run.scored
    assert 0 < (run.scored or 0) < 600


def test_two_processes_on_one_folder_make_one_row_a_content(plant: Plant) -> None:
    for seed in range(120):
        write_image(plant.images / f"{seed:03}.png", brightness=20, seed=seed, size=16)
    processes = [start_scoring(plant, seconds_an_image=0.002) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert len(plant.store.query(limit=None)) == 120
    assert [run.status for run in plant.store.runs()] == [RunStatus.FINISHED] * 2
