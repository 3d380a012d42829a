from __future__ import annotations

import shutil
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import Scores
from deploy.results.records import Duplicate
from deploy.results.schema import ResultStatus, RunStatus
from deploy.results.store import ResultStore
from deploy.scoring.image_result import FileStatus, ImageResult, ImageView
from deploy.scoring.tally import ScoringProgress, ScoringSummary
from pipeline.calibration import Decision
from pipeline.errors import ConfigError, StorageError
from pipeline.imaging.files import read_bytes
from tests.deploy.scoring_plant import LINE, CountingEngine, Plant, score_folder
from tests.parts.plant import tree, write_image, write_plant


@pytest.fixture
def mixed(plant: Plant) -> Plant:
    """Three passes, one review, two rejects, two unreadable files, a copy, and what is no image."""
    for seed, brightness in enumerate([30, 60, 90, 120, 180, 250]):
        write_image(plant.images / "shift" / f"{seed}.png", brightness=brightness, seed=seed)
    shutil.copy(plant.images / "shift" / "5.png", plant.images / "shift" / "copy of 5.png")
    (plant.images / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    (plant.images / "gone.png").symlink_to(plant.root / "nowhere")
    (plant.images / "notes.txt").write_text("no image")
    return plant


def test_a_folder_is_scored_counted_and_kept(mixed: Plant) -> None:
    results: list[tuple[ImageResult, ImageView | None]] = []
    summary = mixed.score(overlays=mixed.root / "overlays", on_result=lambda *seen: results.append(seen), device="cpu!")
    assert (summary.counts.found, summary.counts.scored, summary.counts.skipped, summary.counts.unreadable) == (
        9,
        7,
        0,
        2,
    )
    assert summary.counts.decisions == {Decision.PASS: 3, Decision.REVIEW: 1, Decision.REJECT: 3}
    assert summary.counts.flagged == 4
    assert [result.path.name for result in summary.flagged] == ["5.png", "copy of 5.png", "4.png", "3.png"]
    assert summary.flagged[0].score == pytest.approx(250 / 255, abs=0.01)
    np.testing.assert_allclose(sorted(summary.scores), np.array([30, 60, 90, 120, 180, 250, 250]) / 255, atol=0.01)
    assert [file.path.name for file in summary.unreadable_files] == ["broken.jpg", "gone.png"]
    assert summary.duplicates == (
        Duplicate(str(mixed.images / "shift/copy of 5.png"), str(mixed.images / "shift/5.png")),
    )
    assert summary.duplicate_count == 1
    assert summary.seconds > 0
    assert summary.images_per_second == summary.counts.scored / summary.seconds

    names = [result.path.name for result, _ in results]
    assert names == ["broken.jpg", "gone.png", "0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "copy of 5.png"]
    assert all((view is not None) == (result.status is FileStatus.SCORED) for result, view in results)
    assert results[2][1] is not None
    assert results[2][1].pixels.shape == (32, 32, 3)

    rows = mixed.store.query(run_id=summary.run_id)
    assert len(rows) == 8, "one row for the two files of one content"
    assert {row.status for row in rows} == {ResultStatus.SCORED, ResultStatus.UNREADABLE}
    assert all(row.reason for row in rows if row.status is ResultStatus.UNREADABLE)
    assert {row.image_path: row.decision for row in rows}[str(mixed.images / "shift/5.png")] is Decision.REJECT
    (run,) = mixed.store.runs()
    assert (run.status, run.scored, run.skipped, run.flagged, run.unreadable) == (RunStatus.FINISHED, 7, 0, 4, 2)
    assert (run.device, run.workers, run.folder) == ("cpu!", 2, str(mixed.images))


def test_overlays_are_drawn_for_flagged_images_only(mixed: Plant) -> None:
    summary = mixed.score(overlays=mixed.root / "overlays")
    drawn = sorted((mixed.root / "overlays").rglob("*"))
    pictures = [path for path in drawn if path.is_file()]
    assert {result.overlay_path for result in summary.flagged} == set(pictures)
    assert len(pictures) == 3, "one content, one picture"
    for path in pictures:
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.shape == (48, 48, 3), "at the image's own size"
    rows = mixed.store.query(decisions=[Decision.REVIEW, Decision.REJECT])
    assert {row.overlay_path for row in rows} == {str(path) for path in pictures}
    assert all(row.overlay_path is None for row in mixed.store.query(decisions=[Decision.PASS]))
    assert mixed.root / "overlays" / mixed.bundle.id[:16] == pictures[0].parent


def test_a_relative_folder_gives_relative_results_and_absolute_rows(
    mixed: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mixed.root)
    seen: list[Path] = []
    folder, overlays = Path("images"), Path("images/overlays")

    def again() -> ScoringSummary:
        return score_folder(
            mixed.bundle,
            mixed.engine,
            folder,
            mixed.store,
            workers=2,
            overlays=overlays,
            on_result=lambda result, _: seen.append(result.path),
        )

    first, second = again(), again()
    assert all(path.is_relative_to(folder) for path in seen)
    assert first.counts.found == second.counts.found == 9, "the overlays below the images are left out"
    assert first.duplicate_count == second.duplicate_count == 1
    rows = mixed.store.query()
    assert all(row.image_path.startswith(str(mixed.images)) for row in rows)
    assert all(row.overlay_path is None or Path(row.overlay_path).is_file() for row in rows)
    assert mixed.store.runs()[0].folder == str(mixed.images)


def test_overlays_below_the_images_are_not_scored(mixed: Plant) -> None:
    first = mixed.score(overlays=mixed.images / "overlays")
    second = mixed.score(overlays=mixed.images / "overlays")
    assert first.counts.found == second.counts.found == 9


def test_the_second_run_scores_nothing_and_says_the_same(mixed: Plant) -> None:
    first = mixed.score(overlays=mixed.root / "overlays")
    engine = CountingEngine(mixed.engine)
    rows = [(row.id, row.scored_at) for row in mixed.store.query(status=ResultStatus.SCORED)]
    second = score_folder(mixed.bundle, engine, mixed.images, mixed.store, workers=2)
    assert engine.images == 0
    assert (second.counts.found, second.counts.scored, second.counts.skipped, second.counts.unreadable) == (9, 0, 7, 2)
    assert second.counts.decisions == first.counts.decisions
    np.testing.assert_array_equal(second.scores, first.scores)
    assert [(r.path, r.score, r.overlay_path) for r in second.flagged] == [
        (r.path, r.score, r.overlay_path) for r in first.flagged
    ]
    assert second.duplicates == first.duplicates
    assert [(row.id, row.scored_at) for row in mixed.store.query(status=ResultStatus.SCORED)] == rows
    assert len(mixed.store.query(limit=None)) == 8, "unreadable files keep their one row too"


def test_new_and_mended_files_are_all_that_is_scored(mixed: Plant) -> None:
    mixed.score()
    write_image(mixed.images / "late.png", brightness=200, seed=77)
    write_image(mixed.images / "broken.jpg", brightness=10, seed=78)
    engine = CountingEngine(mixed.engine)
    summary = score_folder(mixed.bundle, engine, mixed.images, mixed.store, workers=2)
    assert (engine.images, summary.counts.scored, summary.counts.skipped, summary.counts.unreadable) == (2, 2, 7, 1)


def test_every_file_is_read_once_also_where_earlier_scores_are_looked_for(
    mixed: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.score()
    write_image(mixed.images / "late.png", brightness=200, seed=77)
    read: list[str] = []

    def counted(path: Path, max_bytes: int) -> bytes:
        read.append(path.name)
        return read_bytes(path, max_bytes)

    monkeypatch.setattr("pipeline.imaging.images.read_bytes", counted)
    summary = mixed.score()
    assert (summary.counts.scored, summary.counts.skipped, summary.counts.unreadable) == (1, 7, 2)
    assert sorted(read) == sorted(path.name for path in mixed.images.rglob("*.*g"))


def test_another_bundle_scores_for_itself(mixed: Plant) -> None:
    mixed.score()
    home = mixed.root / "other_home"
    other = write_plant(home, reject=0.95, review=0.9).deployment(LINE)
    engine = ScoringEngine(other.backbone, "cpu")
    engine.add_head("any name", other.bundle.head_path)
    summary = score_folder(other.bundle, engine, mixed.images, mixed.store, head="any name", workers=1)
    assert (summary.counts.scored, summary.counts.skipped) == (7, 0)
    assert summary.counts.decisions == {Decision.PASS: 5, Decision.REVIEW: 0, Decision.REJECT: 2}
    assert len(mixed.store.query(limit=None)) == 16


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_workers_and_batches_change_nothing(mixed: Plant, workers: int, batch_size: int) -> None:
    reference = mixed.score()
    with ResultStore(mixed.root / "other.sqlite") as store:
        engine = CountingEngine(mixed.engine)
        summary = score_folder(mixed.bundle, engine, mixed.images, store, workers=workers, batch_size=batch_size)
    np.testing.assert_array_equal(summary.scores, reference.scores)
    assert [result.path for result in summary.flagged] == [result.path for result in reference.flagged]
    assert engine.images % batch_size == 0, "short batches are padded"


def test_progress_is_told_seldom_and_at_the_end(plant: Plant) -> None:
    for seed in range(150):
        write_image(plant.images / f"{seed:03}.png", brightness=seed, seed=seed)
    told: list[ScoringProgress] = []
    summary = plant.score(on_progress=told.append, total=150)
    assert (told[-1].done, told[-1].flagged, told[-1].total) == (150, summary.counts.flagged, 150)
    done = [progress.done for progress in told]
    assert done == sorted(done)
    times = [progress.seconds for progress in told[:-1]]  # when it was told, not when we came to look at a clock
    assert all(later - earlier >= 0.1 - 1e-6 for earlier, later in pairwise(times))


def test_an_empty_folder_is_a_run_without_images(plant: Plant) -> None:
    plant.images.mkdir()
    summary = plant.score()
    assert (summary.counts.found, len(summary.scores), summary.counts.flagged) == (0, 0, 0)
    assert plant.store.runs()[0].status is RunStatus.FINISHED


def test_what_cannot_run_is_a_sentence_and_no_run(plant: Plant) -> None:
    with pytest.raises(StorageError, match="folder"):
        plant.score()
    plant.images.mkdir()
    for options in ({"workers": 0}, {"batch_size": 0}):
        with pytest.raises(ConfigError, match="leave them out"):
            plant.score(**options)
    assert plant.store.runs() == []


@pytest.mark.parametrize(
    ("value", "decision"),
    [(np.nan, Decision.REVIEW), (-np.inf, Decision.REVIEW), (np.inf, Decision.REJECT)],
)
def test_what_the_model_cannot_judge_never_passes(plant: Plant, value: float, decision: Decision) -> None:
    write_image(plant.images / "a.png", brightness=10)

    class BrokenEngine(CountingEngine):
        def score_mixed(self, names: Sequence[str], images_BHWC: NDArray[np.uint8], /) -> Scores:
            return Scores(replace(image, score=value) for image in plant.engine.score_mixed(names, images_BHWC))

    summary = score_folder(
        plant.bundle, BrokenEngine(plant.engine), plant.images, plant.store, workers=1, overlays=plant.root / "overlays"
    )
    assert summary.counts.decisions[decision] == 1
    assert (summary.flagged[0].score, len(summary.scores)) == (None, 0)
    (row,) = plant.store.query()
    assert (row.score, row.decision, row.reason) == (None, decision, "the model gave no finite score")
    again = plant.score()
    assert (again.counts.skipped, again.counts.decisions[decision]) == (1, 1)


def test_memory_stays_flat(plant: Plant) -> None:
    for seed in range(100):
        write_image(plant.images / f"{seed:03}.png", brightness=seed, seed=seed)
    engine = CountingEngine(plant.engine)
    views: list[weakref.ref] = []
    alive: list[int] = []
    ahead: list[int] = []

    def watch_slowly(_: ImageResult, view: ImageView | None) -> None:
        assert view is not None
        views.append(weakref.ref(view.pixels))
        alive.append(sum(ref() is not None for ref in views))
        ahead.append(engine.images - len(views))
        time.sleep(0.003)  # slower than the workers, which must wait

    score_folder(plant.bundle, engine, plant.images, plant.store, workers=2, on_result=watch_slowly)
    assert len(views) == 100
    turns = 2 * 16  # what both workers have in hand: a turn's pixels go when the turn ends
    assert max(alive) <= turns + 1, "pixels that were handed out are not kept"
    assert not any(ref() is not None for ref in views), "none outlives the run"
    assert max(ahead) < 2 * turns, "two turns of sixteen images for each worker, and no more"


def test_images_are_left_as_they_are(mixed: Plant) -> None:
    before = tree(mixed.images)
    mixed.score(overlays=mixed.root / "overlays")
    assert tree(mixed.images) == before
