"""A whole plant through one engine: every line by its own bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.results.schema import RunStatus
from deploy.results.store import ResultStore
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.plant_folder import PlantFolder
from deploy.scoring.tally import ScoringProgress
from pipeline.errors import ConfigError
from tests.parts.plant import (
    bundle_files,
    head_graph,
    later_draft,
    write_image,
)
from tests.parts.whole_plant import CAPS, CORKS, PILL, SCALES, WholePlant


@pytest.fixture
def plant(tmp_path: Path) -> WholePlant:
    return WholePlant(tmp_path / "plant")


@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_every_line_is_scored_by_its_own_bundle(plant: WholePlant, store: ResultStore, batch_size: int) -> None:
    (plant.images / CAPS / "broken.png").write_bytes(b"no image")
    told: list[ScoringProgress] = []
    summary = plant.score(store, batch_size=batch_size, on_progress=told.append, total=13)
    assert (summary.counts.found, summary.counts.scored, summary.counts.unreadable) == (13, 12, 1)
    assert summary.backbones == 2  # three lines
    rows = store.query()
    assert len(rows) == 13
    for row in rows:
        if row.score is not None:
            line = (PILL, CAPS, CORKS)[int(Path(row.image_path).stem) % 3]
            brightness = 20 * (int(Path(row.image_path).stem) + 1)
            assert (row.line, row.bundle_id) == (line, plant.registry.live(line).id)
            assert row.score == pytest.approx(brightness * SCALES[line], abs=0.01)
    assert told[-1].done == told[-1].total == 13
    assert {run.status for run in store.runs()} == {RunStatus.FINISHED}
    assert {(run.line, run.scored) for run in store.runs()} == {(PILL, 4), (CAPS, 4), (CORKS, 4)}

    again = plant.score(store, batch_size=batch_size)
    assert (again.counts.scored, again.counts.skipped) == (0, 12)
    assert len(store.query()) == 13


def test_folders_without_a_line_are_named_once_and_counted(plant: WholePlant, store: ResultStore) -> None:
    for name in ("bottling/lids/a/1.png", "bottling/lids/b/2.png", "strange/3.png", "4.png", "bottling/5.png"):
        write_image(plant.images / name, brightness=50, seed=len(name))
    plant.registry.add(later_draft(plant.registry, "v1", 1, "idle"), {**bundle_files(), "head.onnx": head_graph()})
    write_image(plant.images / "idle" / "6.png", brightness=50)
    summary = plant.score(store)
    assert set(summary.skipped) == {"bottling/lids", "strange", ".", "bottling", "idle"}
    assert "no registered line for the folder strange" in summary.skipped["strange"]
    assert "images beside the lines' folders: move them to their line's" in summary.skipped["."]
    assert "idle is skipped: expected a live version" in summary.skipped["idle"]
    assert (summary.skipped_images, summary.counts.scored) == (6, 12)


def test_the_longest_line_that_fits_counts(tmp_path: Path) -> None:
    for name in ("a/x.png", "a/b/x.png", "a/b/c/x.png", "ab/x.png"):
        write_image(tmp_path / name, brightness=1)
    plant = PlantFolder(FolderSource(tmp_path))
    plant.know(frozenset({"a", "a/b"}))
    found = [(item.line, plant.find(item.folder)) for item in plant.items() if item is not None]
    assert [line for line, _ in found] == ["a/b", "a/b", "a", None]
    assert [place for _, (_, place) in found] == ["a/b", "a/b", "a", "ab"]


def test_a_lines_folder_may_be_written_in_either_form_of_unicode(tmp_path: Path) -> None:
    composed, decomposed = "K\u00fche/Fl\u00e4che", "Ku\u0308he/Fla\u0308che"
    for registered, folder in ((composed, decomposed), (decomposed, composed), (decomposed, decomposed)):
        plant = PlantFolder(FolderSource(tmp_path))
        plant.know(frozenset({registered, "other"}))
        assert plant.find(f"{folder}/night") == (registered, folder)
        assert plant.find(f"{folder}er") == (None, f"{folder}er")
    plant.know(frozenset({composed, decomposed}))
    assert [plant.find(name)[0] for name in (composed, decomposed)] == [composed, decomposed]


def test_someone_ends_the_run(plant: WholePlant, store: ResultStore) -> None:
    def interrupt(progress: ScoringProgress) -> None:
        if progress.seconds >= 0 and store.runs():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plant.score(store, on_progress=interrupt)
    assert {run.status for run in store.runs()} == {RunStatus.CANCELLED}
    assert sum(run.scored for run in store.runs()) == len(store.query())
    assert plant.score(store).counts.found == 12
    with pytest.raises(ConfigError, match="at least 1 worker"):
        plant.score(store, workers=0)
