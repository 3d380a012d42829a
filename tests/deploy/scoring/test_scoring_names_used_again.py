"""Whole runs over a watched folder whose names are used again: rows, counts and pictures of each content."""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.results.schema import ResultStatus
from deploy.results.store import ResultStore
from deploy.scoring.image_result import FileStatus, ImageResult, ImageView
from deploy.scoring.scorer import score_images
from deploy.scoring.sources.watch import WatchedFolder
from tests.deploy.scoring.watching import by_rename
from tests.deploy.scoring_plant import CountingEngine, Plant
from tests.parts.plant import write_image
from tests.parts.whole_plant import WholePlant, look_all_the_time


class Camera:
    """Writes parts under one name of a watched folder, each when the one before it was counted."""

    def __init__(self, folder: Path, brightnesses: list[int]) -> None:
        self.source = WatchedFolder(folder, settle_seconds=0.05)
        self.name = folder / "current.png"
        self.parts = [
            write_image(folder.parent / "camera" / f"{number}.png", brightness=value, seed=value).read_bytes()
            for number, value in enumerate(brightnesses)
        ]
        self.left = list(self.parts)
        self.seen: list[ImageResult] = []
        self.write()

    def write(self) -> None:
        by_rename(self.name, self.left.pop(0)) if self.left else self.source.stop()

    def on_result(self, result: ImageResult, _: ImageView | None = None) -> None:
        self.seen.append(result)
        time.sleep(0.1)  # for its row to be committed
        self.write()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    look_all_the_time(monkeypatch)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_four_parts_under_one_name_have_four_rows_and_pictures(plant: Plant, quick: None, batch_size: int) -> None:
    plant.images.mkdir()
    camera = Camera(plant.images, [120, 200, 30, 250])
    overlays = plant.root / "overlays"
    summary, _ = plant.score_source(camera.source, on_result=camera.on_result, batch_size=batch_size, overlays=overlays)
    hashes = [sha256(part).hexdigest() for part in camera.parts]
    assert [result.sha256 for result in camera.seen] == hashes
    assert {row.image_sha256: row.image_path for row in plant.store.query()} == dict.fromkeys(hashes, str(camera.name))
    assert (summary.counts.scored, summary.counts.flagged, summary.duplicate_count) == (4, 3, 0)
    assert {path.stem for path in overlays.rglob("*.jpg")} == {hashes[0], hashes[1], hashes[3]}
    assert camera.source.remarks == []


def test_the_same_content_again_is_counted_told_and_has_one_row(plant: Plant, quick: None) -> None:
    plant.images.mkdir()
    camera = Camera(plant.images, [120, 120, 250, 120])
    summary, _ = plant.score_source(camera.source, on_result=camera.on_result)
    assert [result.status for result in camera.seen] == [
        FileStatus.SCORED,
        FileStatus.SKIPPED,
        FileStatus.SCORED,
        FileStatus.SKIPPED,
    ], "of a bundle that was never used before, too"
    assert len(plant.store.query()) == 2
    assert summary.counts.found == 4
    (told,) = camera.source.remarks
    assert told.startswith(
        "Written again with the content that they had, and counted again with its decision: 1 in all"
    )


def test_what_was_only_touched_is_no_image(plant: Plant, quick: None) -> None:
    path = write_image(plant.images / "0.png", brightness=20)
    source, seen = WatchedFolder(plant.images, settle_seconds=0.05), []

    def touch(result: ImageResult, _: ImageView | None) -> None:
        seen.append(result)
        if len(seen) == 1:
            path.chmod(0o600)
            time.sleep(0.5)
            write_image(plant.images / "1.png", brightness=20, seed=1)
        else:
            source.stop()

    summary, _ = plant.score_source(source, on_result=touch)
    assert (summary.counts.found, [result.name for result in seen]) == (2, ["0.png", "1.png"])


def test_a_part_that_is_written_over_before_it_is_read_has_no_decision(plant: Plant, quick: None) -> None:
    plant.images.mkdir()
    first = write_image(plant.images / "current.png", brightness=30, seed=1)
    source = WatchedFolder(plant.images, settle_seconds=0.05)
    taken = []
    while not taken:
        taken = list(source._poll(time.monotonic()))
    write_image(first, brightness=250, seed=2)
    seen: list[ImageResult] = []

    def items():
        yield taken[0]
        for item in WatchedFolder.items(source):
            yield item
            if item is not None:
                return

    source.items = items  # type: ignore[method-assign]
    summary, seen = plant.score_source(source)
    assert [result.status for result in seen] == [FileStatus.UNREADABLE, FileStatus.SCORED]
    assert "written again before it was read" in (seen[0].reason or "")
    assert (summary.counts.unreadable, summary.counts.found) == (1, 2)
    (row,) = plant.store.query(status=ResultStatus.UNREADABLE)
    assert row.image_path == str(first)


@pytest.mark.parametrize("cleared", [False, True])
def test_what_an_earlier_run_scored_may_be_replaced_or_cleared_away_once_its_message_came(
    plant: Plant, quick: None, cleared: bool
) -> None:
    """The earlier run was killed before it sent its messages: the next one sends them, and the controller goes on."""
    scored = write_image(plant.images / "current.png", brightness=30, seed=1)
    plant.score()
    before = scored.read_bytes()
    source = WatchedFolder(plant.images, settle_seconds=0.05)  # begun again
    taken = []
    while not taken:
        taken = list(source._poll(time.monotonic()))
    scored.unlink()
    following = scored.with_name("next.png") if cleared else scored
    write_image(following, brightness=250, seed=2)

    def items():
        yield taken[0]
        for item in WatchedFolder.items(source):
            yield item
            if item is not None:
                source.stop()
                return

    source.items = items  # type: ignore[method-assign]
    summary, seen = plant.score_source(source)
    assert [(result.name, result.status) for result in seen] == [(following.name, FileStatus.SCORED)]
    assert (summary.counts.unreadable, summary.counts.found) == (0, 1)
    rows = {row.image_sha256: row.status for row in plant.store.query()}
    contents = [sha256(content).hexdigest() for content in (before, following.read_bytes())]
    assert rows == dict.fromkeys(contents, ResultStatus.SCORED)
    assert "removed or replaced before they were looked at: 1 in all, first current.png" in source.remarks[0]


def test_a_heat_map_lies_over_its_own_part(plant: Plant, quick: None) -> None:
    """A file that is written over between scoring and drawing must not lend its pixels to the part before."""
    plant.images.mkdir()
    dark = np.zeros((48, 48, 3), np.uint8)
    path = write_image(plant.images / "current.png", brightness=250, seed=1)

    class Overwriting(CountingEngine):
        def score_mixed(self, names, images):
            cv2.imwrite(str(path), dark)
            return plant.engine.score_mixed(names, images)

    overlays = plant.root / "overlays"
    source = WatchedFolder(plant.images, settle_seconds=0.05)
    score_images(
        plant.bundle,
        Overwriting(plant.engine),
        source,
        plant.store,
        workers=1,
        overlays=overlays,
        on_result=lambda *_: source.stop(),
    )
    (picture,) = overlays.rglob("*.jpg")
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.mean() > 60


def test_images_that_are_gone_before_their_line_can_be_used_stay_counted(
    tmp_path: Path, store: ResultStore, quick: None
) -> None:
    plant = WholePlant(tmp_path)
    for path in plant.images.rglob("*.png"):
        path.unlink()
    current = plant.images / "zips" / "current.png"
    write_image(current, brightness=30, seed=1)
    write_image(plant.images / "loose.png", brightness=30, seed=3)
    source = WatchedFolder(plant.images, settle_seconds=0.05)
    steps = {0: lambda: write_image(current, brightness=40, seed=2), 1: lambda: plant.add("zips", "v1")}
    began = time.monotonic()

    def turn(progress) -> None:
        if progress.done:
            source.stop()
        elif time.monotonic() - began > 0.7 * (3 - len(steps)) and steps:
            steps.pop(min(steps))()

    summary = plant.score(store, source=source, on_progress=turn)
    assert (summary.counts.scored, summary.skipped_images) == (1, 2)
    assert list(summary.skipped.values()) == [
        "1 images were removed or written over before their line had a bundle to score with",
        "no registered line for images beside the lines' folders: move them to their line's",
    ]
