"""A watch that is begun again: what earlier runs decided is told once, and what they did not see is scored."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from deploy.bundles.bundle import Bundle
from deploy.results.schema import ResultRow
from deploy.scoring.earlier_decisions import TOLD_BEFORE
from deploy.scoring.image_result import FileStatus, ImageResult, ImageView
from deploy.scoring.scorer import ScoringSummary, score_images
from deploy.scoring.sources.watch import WatchedFolder
from pipeline.calibration import Decision
from pipeline.errors import ImageError
from pipeline.imaging import images
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
