"""A plant whose lines change while it is scored: another bundle is used as soon as it is promoted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from deploy.engine.devices import resolve_device
from deploy.results.schema import RunStatus
from deploy.results.store import ResultStore
from deploy.scoring.image_result import ImageResult, ImageView
from deploy.scoring.line_scoring import LineScoring
from deploy.scoring.live_lines import LiveLines
from deploy.scoring.plant_pages import write_pages
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.sources.watch import WatchedFolder
from deploy.scoring.tally import ScoringProgress
from pipeline.errors import StorageError
from tests.parts.html_page import Page
from tests.parts.plant import (
    write_image,
)
from tests.parts.rights import closed
from tests.parts.whole_plant import CAPS, CORKS, PILL, WholePlant, look_all_the_time


@pytest.fixture
def plant(tmp_path: Path) -> WholePlant:
    return WholePlant(tmp_path / "plant")


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    look_all_the_time(monkeypatch)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_promoted_bundle_is_taken_up_between_images(plant: WholePlant, store: ResultStore, batch_size: int) -> None:
    for seed in range(100, 300):
        write_image(plant.images / PILL / "more" / f"{seed}.png", brightness=200, seed=seed)
    old = plant.registry.live(PILL)
    plant.add(PILL, "v2", scale=0.25 / 255, promote=False)
    pills = count(1)

    def promote_meanwhile(line: LineScoring, _result: ImageResult, _view: ImageView | None) -> None:
        if line.line == PILL and next(pills) == 20:
            plant.registry.promote(PILL, "v2")

    summary = plant.score(store, batch_size=batch_size, on_result=promote_meanwhile)
    new = plant.registry.live(PILL)
    assert [(line.line, line.version) for line in summary.lines if line.line == PILL] == [
        (PILL, "v1"),
        (PILL, "v2"),
    ]
    rows = [row for row in store.query(limit=None) if row.line == PILL and "/more/" in row.image_path]
    assert len(rows) == 200
    by_bundle = {bundle.id: [row for row in rows if row.bundle_id == bundle.id] for bundle in (old, new)}
    assert sum(map(len, by_bundle.values())) == 200
    assert min(map(len, by_bundle.values())) > 10, "the promotion came in the middle"
    for bundle, scale in ((old, 1.0), (new, 0.25)):
        for row in by_bundle[bundle.id]:  # score, threshold and version all of one bundle
            assert row.score == pytest.approx(200 / 255 * scale, abs=0.01)
            threshold = bundle.manifest.threshold
            assert (row.bundle_version, row.reject_threshold) == (bundle.manifest.version, threshold.reject)
            assert row.decision == threshold.decide(row.score)
    order = sorted(rows, key=lambda row: row.image_path)
    assert [row.bundle_id for row in order] == sorted(
        (row.bundle_id for row in order), key=lambda identity: identity == new.id
    )
    closed = next(line for line in summary.lines if line.version == "v1" and line.line == PILL)
    assert closed.bundle.id not in closed.worker.engine.heads  # a replaced head holds no memory


def test_a_damaged_promotion_is_said_and_the_old_bundle_goes_on(
    plant: WholePlant, store: ResultStore, caplog: pytest.LogCaptureFixture
) -> None:
    path = plant.add(PILL, "v2", scale=0.25 / 255, promote=False)

    def promote_damaged(_progress: ScoringProgress) -> None:
        if store.runs(line=PILL) and plant.registry.live_version(PILL) == "v1":
            plant.registry.promote(PILL, "v2")
            head = path / "head.onnx"
            head.write_bytes(head.read_bytes()[:-1] + b"!")

    for seed in range(100, 110):
        write_image(plant.images / PILL / "more" / f"{seed}.png", brightness=200, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploy.scoring.reporting._PROGRESS_SECONDS", 0.0)
        summary = plant.score(store, on_progress=promote_damaged)
    (problem,) = summary.problems
    assert "mvtec/pill: expected content of sha256" in problem
    assert "Scoring goes on with version v1" in problem
    assert problem in caplog.text
    assert {row.bundle_version for row in store.query() if row.line == PILL} == {"v1"}
    assert summary.counts.scored == 22


class Meanwhile(FolderSource):
    """A folder on whose way things happen, each just before an image is given."""

    def __init__(self, folder: Path, happens: dict[str, Callable[[], object]]) -> None:
        super().__init__(folder)
        self.happens = happens

    def items(self) -> Iterator[SourceItem]:
        for item in super().items():
            self.happens.get(item.name, lambda: None)()
            yield item


def test_a_line_registered_or_made_live_meanwhile_is_scored(
    plant: WholePlant, store: ResultStore, restless: None
) -> None:
    plant.add("idle", "v1", promote=False)
    for number in range(6):
        write_image(plant.images / "idle" / f"{number}.png", brightness=50, seed=number)
        write_image(plant.images / "zips" / f"{number}.png", brightness=50, seed=number)
    happens = {
        "idle/2.png": lambda: plant.registry.promote("idle", "v1"),
        "zips/3.png": lambda: plant.add("zips", "v1"),
    }
    told: list[ScoringProgress] = []
    summary = plant.score(store, source=Meanwhile(plant.images, happens), on_progress=told.append, total=24)
    scored = {line.line: line.tally.done for line in summary.lines}
    assert scored == {PILL: 4, CAPS: 4, CORKS: 4, "idle": 4, "zips": 2}  # the registry is looked at after an image
    assert summary.skipped_images == 2 + 4
    assert summary.skipped == {
        line: f"images of {line} came before it could be used: score the folder again" for line in ("idle", "zips")
    }
    assert (told[-1].done, told[-1].total) == (18, 18)
    assert plant.score(store).counts.scored == 6


def test_lines_that_cannot_be_looked_for_any_more_are_told_and_those_known_go_on(
    plant: WholePlant, restless: None
) -> None:
    lines = LiveLines(plant.registry, resolve_device("cpu"))
    known = lines.names()
    with closed(plant.registry.home / "lines"):
        while not lines.problems:  # it looks again when that is due
            assert lines.names() == known
    (problem,) = lines.problems
    assert problem.startswith("Lines that are new could not be looked for: expected permission to use ")
    with closed(plant.registry.home / "lines"), pytest.raises(StorageError, match="expected permission to use "):
        LiveLines(plant.registry, resolve_device("cpu")).names()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_watched_plant_takes_what_comes(
    plant: WholePlant, store: ResultStore, restless: None, batch_size: int
) -> None:
    source = WatchedFolder(plant.images, settle_seconds=0.02)

    def day() -> Generator[None, ScoringProgress, None]:
        told = yield
        while told.done < 12:
            told = yield
        for name in ("zips/cam1/1.png", "zips/2.png", "lost/3.png"):
            write_image(plant.images / name, brightness=50, seed=len(name))
        while sum("no registered line for the folder" in remark for remark in told.remarks) < 2:
            told = yield
        plant.add("zips", "v1", promote=False)
        while not any("zips is skipped: expected a live version" in remark for remark in told.remarks):
            told = yield
        plant.registry.promote("zips", "v1")
        while told.done < 14:
            told = yield
        plant.add(PILL, "v2", scale=0.25 / 255)
        write_image(plant.images / PILL / "later.png", brightness=200, seed=99)
        while told.done < 15:
            told = yield
        plant.registry.roll_back(PILL)
        write_image(plant.images / PILL / "last.png", brightness=200, seed=98)
        while told.done < 16:
            told = yield
        source.stop()
        while True:
            yield

    steps = day()
    next(steps)
    summary = plant.score(store, source=source, on_progress=steps.send, batch_size=batch_size)
    found = [(line.line, line.version, line.tally.done) for line in summary.lines]
    pills = [(PILL, "v1", 4), (PILL, "v2", 1), (PILL, "v1", 1)]
    assert sorted(found) == sorted([(CAPS, "v1", 4), (CORKS, "v1", 4), *pills, ("zips", "v1", 2)])
    assert (summary.counts.scored, len(store.query())) == (16, 16)
    assert (set(summary.skipped), summary.skipped_images) == ({"lost"}, 1)
    assert {run.status for run in store.runs()} == {RunStatus.FINISHED}

    about = {"name": "a", "source": "a", "device": "cpu", "started_at": datetime.now(UTC), "workers": 1}
    write_pages(plant.root / "a.html", summary, remarks=source.remarks, **about)
    pages = plant.root / "a_lines" / "mvtec%2Fpill"
    told = ["✓ PASS 2", "✓ PASS 1", "✓ PASS 0"]
    for want, name in zip(told, ("v1.html", "v2.html", "v1 (2).html"), strict=True):
        assert want in Page(pages / name).text
