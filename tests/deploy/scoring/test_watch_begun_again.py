"""A watch that is begun again: what earlier runs decided is told once, and what they did not see is scored."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from deploy.bundles.bundle import Bundle
from deploy.messages.destination import parse_destination
from deploy.messages.publisher import Publisher
from deploy.messages.receivers import receiver_of
from deploy.messages.told import Told
from deploy.results.schema import ResultRow
from deploy.scoring.earlier_decisions import TOLD_BEFORE, TOLD_UNREADABLE
from deploy.scoring.image_result import FileStatus, ImageResult, ImageView
from deploy.scoring.scorer import ScoringSummary, score_images
from deploy.scoring.sources.watch import WatchedFolder
from pipeline.calibration import Decision
from pipeline.errors import ImageError
from pipeline.imaging import images
from pipeline.storage import sha256_file
from tests.deploy.messages.webhook_server import WebhookServer
from tests.deploy.results.result_rows import begin, unreadable
from tests.deploy.scoring.part_views import BAD, RULE, VIEWS, rows, view
from tests.deploy.scoring.watching import by_rename
from tests.deploy.scoring_plant import Plant, score_folder
from tests.parts.plant import write_image
from tests.parts.whole_plant import look_all_the_time


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    look_all_the_time(monkeypatch)


def watched_until(last: Path, plant: Plant, bundle: Bundle, **options: Any) -> tuple[ScoringSummary, list[ImageResult]]:
    """Begin a watch, and end it once it has told of this file."""
    source, seen = WatchedFolder(plant.images, settle_seconds=0.05), list[ImageResult]()

    def on_result(result: ImageResult, _: ImageView | None = None) -> None:
        seen.append(result)
        if result.path == last:
            source.stop()

    return score_images(bundle, plant.engine, source, plant.store, workers=1, on_result=on_result, **options), seen


def newer(bundle: Bundle) -> Bundle:
    return replace(bundle, id="f" * 64)


def test_with_a_new_version_it_tells_of_no_part_twice(plant: Plant) -> None:
    first = write_image(plant.images / "first.png", brightness=30, seed=1)
    second = write_image(plant.images / "second.png", brightness=40, seed=2)
    plant.score()
    by_rename(second, write_image(plant.root / "camera.png", brightness=250, seed=3).read_bytes())

    summary, seen = watched_until(second, plant, newer(plant.bundle))
    assert [(result.name, result.status) for result in seen] == [(second.name, FileStatus.SCORED)]
    assert (summary.counts.scored, summary.counts.unreadable) == (1, 0)
    assert [remark for remark in summary.remarks if remark.endswith(TOLD_BEFORE)]
    found = [(row.image_path, row.bundle_id == "f" * 64) for row in plant.store.query()]
    assert sorted(found) == [(str(first), False), (str(second), False), (str(second), True)]
    again = score_folder(newer(plant.bundle), plant.engine, plant.images, plant.store)
    assert again.counts.scored == 1, "a folder is scored anew"


def broken(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]))
    return path


def watched_and_told(last: Path, plant: Plant, bundle: Bundle) -> tuple[ScoringSummary, list[tuple[str, Any]]]:
    """As `watched_until`; with what a controller was told: of which file, and its decision."""
    with WebhookServer().serving() as server:
        receiver = receiver_of(parse_destination(server.address), None, database="here")
        publisher = Publisher(plant.store.outbox, server.address, tuple(Told), receiver)
        summary, _ = watched_until(last, plant, bundle, publisher=publisher)
        assert publisher.end(10).waiting == 0
    return summary, sorted((Path(message["image_path"]).name, message["decision"]) for message in server.accepted)


def test_with_a_new_version_it_tells_of_no_unreadable_file_twice(plant: Plant) -> None:
    broken(plant.images / "broken.png", 1)
    reused = broken(plant.images / "reused.png", 2)
    last = write_image(plant.images / "last.png", brightness=30, seed=1)
    _, told = watched_and_told(last, plant, plant.bundle)
    assert told == [("broken.png", None), ("last.png", "PASS"), ("reused.png", None)]
    kept = reused.stat()
    by_rename(reused, broken(plant.root / "camera.png", 3).read_bytes())
    os.utime(reused, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    last = write_image(plant.images / "another.png", brightness=30, seed=2)

    summary, told = watched_and_told(last, plant, newer(plant.bundle))
    assert told == [("another.png", "PASS"), ("reused.png", None)]
    assert [remark for remark in summary.remarks if remark.endswith(TOLD_UNREADABLE)]
    assert summary.counts.unreadable == 1
    rows_of = [Path(row.image_path).name for row in plant.store.query(bundle_id="f" * 64)]
    assert sorted(rows_of) == ["another.png", "reused.png"]


def test_a_broken_file_with_the_bytes_of_another_part_is_told(plant: Plant) -> None:
    """As a camera whose disk is full writes them: a header, and no more."""
    reused = broken(plant.images / "reused.png")
    watched_until(reused, plant, plant.bundle)
    (row,) = plant.store.query()
    by_rename(reused, broken(plant.root / "camera.png").read_bytes())
    assert datetime.fromtimestamp(reused.stat().st_mtime, UTC) > row.scored_at
    last = write_image(plant.images / "last.png", brightness=30, seed=2)
    _, seen = watched_until(last, plant, newer(plant.bundle))
    assert ("reused.png", FileStatus.UNREADABLE) in [(result.name, result.status) for result in seen]


def test_what_the_new_version_can_read_is_scored(plant: Plant) -> None:
    """As where its support was of deeper images, or Linewise was upgraded."""
    file = write_image(plant.images / "a.png", brightness=30, seed=1)
    row = unreadable(begin(plant.store, plant.bundle), plant.bundle, str(file), number=1)
    plant.store.add([row._replace(image_sha256=sha256_file(file), scored_at=datetime.now(UTC))])
    _, seen = watched_until(file, plant, newer(plant.bundle))
    assert [result.status for result in seen] == [FileStatus.SCORED]


@pytest.mark.parametrize("is_promoted", [False, True])
def test_what_was_written_meanwhile_is_scored_whatever_the_shares_clock_says(plant: Plant, is_promoted: bool) -> None:
    first = write_image(plant.images / "first.png", brightness=30, seed=1)
    plant.score()
    (row,) = plant.store.query()
    behind = timedelta(minutes=5)  # the share's clock: our rows are of later than files that are written after them
    with plant.store.session() as session:
        session.execute(update(ResultRow).values(scored_at=row.scored_at + behind))
        session.commit()
    by_rename(first, write_image(plant.root / "camera.png", brightness=250, seed=3).read_bytes())

    bundle = newer(plant.bundle) if is_promoted else plant.bundle
    _, seen = watched_until(first, plant, bundle)
    assert [(result.status, result.decision) for result in seen] == [(FileStatus.SCORED, Decision.REJECT)]


def test_a_part_whose_first_view_another_version_saw_is_whole(plant: Plant) -> None:
    view(plant, "b", VIEWS[0], BAD)
    plant.score()  # and the scorer was killed before the other views came
    last = [view(plant, "b", name) for name in VIEWS[1:]][-1]
    watched_until(last, plant, newer(plant.bundle), part_rule=RULE)
    (part,) = rows(plant)
    assert (part.decision, sorted(part.views_seen)) == (Decision.REJECT, sorted(VIEWS))


def test_a_share_that_is_away_for_a_moment_costs_an_image_and_not_the_run(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = write_image(plant.images / "a.png", brightness=30, seed=1)
    last = write_image(plant.images / "b.png", brightness=30, seed=2)
    read, status = images.read_bytes, {"stat": Path.stat, "lstat": Path.lstat}

    def reading(path: Path, *rest: Any) -> Any:
        if Path(path).name == lost.name:
            raise ImageError("a file", "Host is down", "look at the share")
        return read(path, *rest)

    def asking(name: str) -> Any:
        def ask(path: Path, **options: Any) -> Any:
            if path.name == lost.name:
                raise OSError(errno.EHOSTDOWN, "Host is down")
            return status[name](path, **options)

        return ask

    monkeypatch.setattr(images, "read_bytes", reading)
    for name in status:
        monkeypatch.setattr(Path, name, asking(name))
    _, seen = watched_until(last, plant, plant.bundle)
    told = {result.name: result.status for result in seen}
    assert told == {lost.name: FileStatus.UNREADABLE, last.name: FileStatus.SCORED}
