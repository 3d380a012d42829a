"""A whole plant through one engine: every line by its own bundle, and another one as soon as it is promoted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.bundles.registry import Registry
from deploy.engine.runtime import resolve_device
from deploy.results.store import ResultStore, RunStatus
from deploy.scoring.plant import PlantSummary, score_plant
from deploy.scoring.records import FileStatus, ScoringProgress
from deploy.scoring.sources.plant_folder import PlantFolder
from flows.cli import app
from pipeline.errors import ConfigError
from tests.plant_parts import (
    bundle_files,
    head_graph,
    later_draft,
    make_draft,
    write_backbone,
    write_image,
    write_plant,
)

PILL, CAPS, CORKS = "mvtec/pill", "bottling/caps", "corks"
SCALES = {PILL: 1 / 255, CAPS: 0.5 / 255, CORKS: 1 / 255}


class PlantFixture:
    def __init__(self, root: Path) -> None:
        self.root, self.images = root, root / "images"
        self.registry = write_plant(root / "home")
        self.add(CAPS, "v1", scale=SCALES[CAPS])
        other = self.registry.add_backbone(write_backbone(root / "other", fingerprint="fedcba9876543210"))
        draft = make_draft(line=CORKS, spec=other.spec, onnx_sha256=other.onnx_sha256, review=0.4, reject=0.6)
        self.registry.add(draft, {**bundle_files(), "head.onnx": head_graph()})
        self.registry.promote(CORKS, "v1")
        for seed in range(12):
            line = (PILL, CAPS, CORKS)[seed % 3]
            write_image(self.images / line / "shift" / f"{seed}.png", brightness=20 * (seed + 1), seed=seed)

    def add(self, line: str, version: str, *, scale: float, promote: bool = True) -> Path:
        draft = later_draft(self.registry, version, int(version.removeprefix("v")), line)
        bundle = self.registry.add(draft, {**bundle_files(), "head.onnx": head_graph(scale=scale)})
        if promote:
            self.registry.promote(line, version)
        return bundle.path

    def score(self, store: ResultStore, **options) -> PlantSummary:
        options = {"workers": 2, **options}
        return score_plant(self.images, self.registry, store, resolve_device("cpu"), **options)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> PlantFixture:
    return PlantFixture(tmp_path_factory.mktemp("plant"))


@pytest.fixture
def plant(written: PlantFixture, tmp_path: Path) -> PlantFixture:
    copy = object.__new__(PlantFixture)
    copy.root = shutil.copytree(written.root, tmp_path / "plant")
    copy.images, copy.registry = copy.root / "images", Registry(copy.root / "home")
    return copy


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore(tmp_path / "results.sqlite") as opened:
        yield opened


@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_every_line_is_scored_by_its_own_bundle(plant: PlantFixture, store: ResultStore, batch_size: int) -> None:
    (plant.images / CAPS / "broken.png").write_bytes(b"no image")
    told: list[ScoringProgress] = []
    summary = plant.score(store, batch_size=batch_size, on_progress=told.append, total=13)
    assert (summary.found, summary.count(FileStatus.SCORED), summary.count(FileStatus.UNREADABLE)) == (13, 12, 1)
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
    assert (again.count(FileStatus.SCORED), again.count(FileStatus.SKIPPED)) == (0, 12)
    assert len(store.query()) == 13


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_promoted_bundle_is_taken_up_between_images(plant: PlantFixture, store: ResultStore, batch_size: int) -> None:
    for seed in range(100, 160):
        write_image(plant.images / PILL / "more" / f"{seed}.png", brightness=200, seed=seed)
    old = plant.registry.live(PILL)
    plant.add(PILL, "v2", scale=0.25 / 255, promote=False)
    passed = 0

    def promote_meanwhile(_progress: ScoringProgress) -> None:
        nonlocal passed
        passed += bool(store.runs(line=PILL))
        if passed == 20:  # images of the line, about
            plant.registry.promote(PILL, "v2")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploy.scoring.reporting._PROGRESS_SECONDS", 0.0)  # asks after every image
        summary = plant.score(store, batch_size=batch_size, on_progress=promote_meanwhile)
    new = plant.registry.live(PILL)
    assert [(line.live.line, line.version) for line in summary.lines if line.live.line == PILL] == [
        (PILL, "v1"),
        (PILL, "v2"),
    ]
    rows = [row for row in store.query() if row.line == PILL and "/more/" in row.image_path]
    assert len(rows) == 60
    by_bundle = {bundle.id: [row for row in rows if row.bundle_id == bundle.id] for bundle in (old, new)}
    assert sum(map(len, by_bundle.values())) == 60
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
    closed = next(line for line in summary.lines if line.version == "v1" and line.live.line == PILL)
    assert closed.live.head not in closed.engine.heads  # a replaced head holds no memory


def test_a_damaged_promotion_is_said_and_the_old_bundle_goes_on(
    plant: PlantFixture, store: ResultStore, caplog: pytest.LogCaptureFixture
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
    assert summary.count(FileStatus.SCORED) == 22


def test_folders_without_a_line_are_named_once_and_counted(plant: PlantFixture, store: ResultStore) -> None:
    for name in ("bottling/lids/a/1.png", "bottling/lids/b/2.png", "strange/3.png", "4.png", "bottling/5.png"):
        write_image(plant.images / name, brightness=50, seed=len(name))
    plant.registry.add(later_draft(plant.registry, "v1", 1, "idle"), {**bundle_files(), "head.onnx": head_graph()})
    write_image(plant.images / "idle" / "6.png", brightness=50)
    summary = plant.score(store)
    assert set(summary.skipped) == {"bottling/lids", "strange", ".", "bottling", "idle"}
    assert "no registered line for the folder strange" in summary.skipped["strange"]
    assert "idle is skipped: expected a live version" in summary.skipped["idle"]
    assert (summary.skipped_images, summary.count(FileStatus.SCORED)) == (6, 12)


def test_the_longest_line_that_fits_counts(tmp_path: Path) -> None:
    for name in ("a/x.png", "a/b/x.png", "a/b/c/x.png", "ab/x.png"):
        write_image(tmp_path / name, brightness=1)
    items = list(PlantFolder(tmp_path, ["a", "a/b"]).items())
    assert [(item.line, item.place) for item in items] == [("a/b", "a/b"), ("a/b", "a/b"), ("a", "a"), (None, "ab")]


def test_someone_ends_the_run(plant: PlantFixture, store: ResultStore) -> None:
    def interrupt(progress: ScoringProgress) -> None:
        if progress.seconds >= 0 and store.runs():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plant.score(store, on_progress=interrupt)
    assert {run.status for run in store.runs()} == {RunStatus.CANCELLED}
    assert sum(run.scored for run in store.runs()) == len(store.query())
    assert plant.score(store).found == 12
    with pytest.raises(ConfigError, match="at least 1 worker"):
        plant.score(store, workers=0)


def test_the_command(plant: PlantFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEWISE_HOME", str(plant.root / "home"))
    monkeypatch.delenv("LINEWISE_DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    write_image(plant.images / "strange" / "1.png", brightness=9)
    arguments = ["score-plant", str(plant.images), "--device", "cpu", "--workers", "1"]
    done = CliRunner().invoke(app, [*arguments, "--json", "-"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert {row["line"]: row["images"] for row in figures["lines"]} == {PILL: 4, CAPS: 4, CORKS: 4}
    assert (figures["images"], figures["skipped_images"]) == (12, 1)
    assert "no registered line for the folder strange" in done.stderr
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "bottling/caps" in shown.stdout
    nothing = CliRunner().invoke(app, ["score-plant", str(plant.images / "strange"), "--device", "cpu"])
    assert "expected images in folders that are named as registered lines" in str(nothing.exception)
