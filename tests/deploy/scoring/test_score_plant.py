"""A whole plant through one engine: every line by its own bundle, and another one as soon as it is promoted."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
import tifffile
from typer.testing import CliRunner

from deploy.bundles.registry import Registry
from deploy.engine.runtime import resolve_device
from deploy.results.store import ResultStore, RunStatus
from deploy.scoring.plant import score_plant
from deploy.scoring.plant_summary import PlantSummary
from deploy.scoring.records import FileStatus, ScoringProgress
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.plant_folder import PlantFolder
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.sources.watch import WatchedFolder
from flows.cli import app
from flows.jobs import score_plant as job
from flows.jobs.plant_reports import write_pages
from flows.jobs.progress import Progress
from flows.jobs.scoring_requests import ScorePlantRequest
from pipeline.errors import ConfigError
from pipeline.settings import DeviceName, load_settings
from tests.deploy.reports.report_parts import Page
from tests.parts.plant import (
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

    def add(self, line: str, version: str, *, scale: float = 1 / 255, promote: bool = True) -> Path:
        draft = later_draft(self.registry, version, int(version.removeprefix("v")), line)
        bundle = self.registry.add(draft, {**bundle_files(), "head.onnx": head_graph(scale=scale)})
        if promote:
            self.registry.promote(line, version)
        return bundle.path

    def score(self, store: ResultStore, **options) -> PlantSummary:
        options = {"source": FolderSource(self.images), "workers": 2, **options}
        return score_plant(registry=self.registry, store=store, device=resolve_device("cpu"), **options)


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
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is looked at now and then is looked at all the time."""
    monkeypatch.setattr("deploy.scoring.reporting._PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("deploy.scoring.live_lines._LIST_SECONDS", 0.0)
    monkeypatch.setattr("deploy.scoring.live_lines._LIST_SHARE", 1.0)
    monkeypatch.setattr("deploy.scoring.sources.watch._POLL_SECONDS", 0.01)
    monkeypatch.setattr("deploy.scoring.sink._COMMIT_SECONDS", 0.02)


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
    plant: PlantFixture, store: ResultStore, restless: None
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
    scored = {line.live.line: line.tally.done for line in summary.lines}
    assert scored == {PILL: 4, CAPS: 4, CORKS: 4, "idle": 4, "zips": 2}  # the registry is looked at after an image
    assert summary.skipped_images == 2 + 4
    assert summary.skipped == {
        line: f"images of {line} came before it could be used: score the folder again" for line in ("idle", "zips")
    }
    assert (told[-1].done, told[-1].total) == (18, 18)
    assert plant.score(store).count(FileStatus.SCORED) == 6


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_watched_plant_takes_what_comes(
    plant: PlantFixture, store: ResultStore, restless: None, batch_size: int
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
    found = [(line.live.line, line.version, line.tally.done) for line in summary.lines]
    pills = [(PILL, "v1", 4), (PILL, "v2", 1), (PILL, "v1", 1)]
    assert sorted(found) == sorted([(CAPS, "v1", 4), (CORKS, "v1", 4), *pills, ("zips", "v1", 2)])
    assert (summary.count(FileStatus.SCORED), len(store.query())) == (16, 16)
    assert (set(summary.skipped), summary.skipped_images) == ({"lost"}, 1)
    assert {run.status for run in store.runs()} == {RunStatus.FINISHED}

    about = {"name": "a", "source": "a", "device": "cpu", "started_at": datetime.now(UTC), "workers": 1}
    write_pages(plant.root / "a.html", summary, remarks=source.remarks, **about)
    pages = plant.root / "a_lines" / "mvtec%2Fpill"
    told = ["✓ PASS 2", "✓ PASS 1", "✓ PASS 0"]
    for want, name in zip(told, ("v1.html", "v2.html", "v1 (2).html"), strict=True):
        assert want in Page(pages / name).text


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
    plant = PlantFolder(FolderSource(tmp_path))
    plant.know(frozenset({"a", "a/b"}))
    found = [(item.line, plant.find(item.folder)) for item in plant.items() if item is not None]
    assert [line for line, _ in found] == ["a/b", "a/b", "a", None]
    assert [place for _, (_, place) in found] == ["a/b", "a/b", "a", "ab"]


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


@pytest.fixture
def home(plant: PlantFixture, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plant's home, in use."""
    monkeypatch.setenv("LINEWISE_HOME", str(plant.root / "home"))
    monkeypatch.delenv("LINEWISE_DATABASE_URL", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return plant.root / "home"


def test_the_command(plant: PlantFixture, home: Path) -> None:
    write_image(plant.images / "strange" / "1.png", brightness=9)
    arguments = ["score-plant", str(plant.images), "--device", "cpu", "--workers", "1"]
    done = CliRunner().invoke(app, [*arguments, "--json", "-", "--csv", str(plant.root / "rows.csv")])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert {row["line"]: row["images"] for row in figures["lines"]} == {PILL: 4, CAPS: 4, CORKS: 4}
    assert (figures["images"], figures["skipped_images"]) == (12, 1)
    assert "no registered line for the folder strange" in done.stderr
    assert Path(figures["report"]).is_relative_to(home / "plant-reports")
    assert Path(figures["json"]) == Path(figures["report"]).with_name("results.json")
    assert (plant.root / "rows.csv").read_text().count("\n") == 1 + 12
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "bottling/caps" in shown.stdout
    assert "nothing new: 12 images were scored before, " in shown.stdout
    assert len(list((home / "plant-reports").glob("*/report.html"))) == 2
    nothing = CliRunner().invoke(app, ["score-plant", str(plant.images / "strange"), "--device", "cpu"])
    assert "expected images in folders that are named as registered lines" in str(nothing.exception)


def test_rows_and_maps_of_all_lines(plant: PlantFixture, home: Path) -> None:
    plant.add(CAPS, "v2", scale=SCALES[CAPS])
    (plant.images / CAPS / "torn.png").write_bytes(b"no image")
    write_image(plant.images / "strange" / "1.png", brightness=9)
    out = plant.root / "out"
    request = ScorePlantRequest(
        images=plant.images,
        device=DeviceName.CPU,
        workers=2,
        report=out / "day.html",
        csv_path=out / "rows.csv",
        maps=out / "maps",
        overlays=False,
    )
    result = job.run(request, load_settings())
    with (out / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = json.loads((out / "day.json").read_text())
    assert result.json_path == out / "day.json"
    assert [row["path"] for row in told.pop("rows")] == [row["path"] for row in rows]
    assert told == {"format_version": 1, **result.figures()}
    for line in told["lines"]:
        own = [row for row in rows if row["line"] == line["line"]]
        assert {row["bundle_version"] for row in own} == {line["version"]}
        decisions = Counter(row["decision"] or row["status"] for row in own)
        assert len(own) == line["images"]
        assert decisions == Counter(
            {name: line[name.lower()] for name in ("PASS", "REVIEW", "REJECT")} | {"unreadable": line["unreadable"]}
        )
    assert len(rows) == result.summary.found == 13
    assert {(line["line"], line["version"]) for line in told["lines"]} == {(PILL, "v1"), (CAPS, "v2"), (CORKS, "v1")}
    maps = {path.relative_to(out / "maps").as_posix(): path for path in out.glob("maps/**/*.tiff")}
    assert set(maps) == {f"{row['path']}.tiff" for row in rows if row["status"] == "scored"}
    (brightest,) = (row for row in rows if row["path"] == f"{CORKS}/shift/11.png")
    assert float(tifffile.imread(maps[f"{CORKS}/shift/11.png.tiff"]).max()) == float(brightest["score"])
    with pytest.raises(ConfigError, match="a folder for maps outside"):
        job.run(request.model_copy(update={"maps": plant.images / "maps"}), load_settings())


def test_a_watched_plant_ends_with_a_signal_and_has_a_page_of_all_lines(
    plant: PlantFixture, home: Path, restless: None
) -> None:
    (plant.images / CAPS / "torn.png").write_bytes(b"no image")
    request = ScorePlantRequest(
        images=plant.images, watch=True, device=DeviceName.CPU, workers=2, report=plant.root / "out" / "day 1.html"
    )

    signals = [signal.SIGTERM]

    def end_when_all_is_done(progress: Progress) -> None:
        if progress.done == 13 and signals:
            os.kill(os.getpid(), signals.pop())

    result = job.run(request, load_settings(), end_when_all_is_done)
    assert result.report == request.report
    page = Page(result.report)
    links = [unquote(link["href"] or "") for link in page.all("a") if link["href"] != "#main"]
    lines = [f"day 1_lines/{name}/v1.html" for name in ("bottling%2Fcaps", "corks", "mvtec%2Fpill")]
    rows = ["day 1.json", "day 1.csv"]
    assert links == lines * 2 + rows, "in the table, above the histograms, and at the end"
    assert "bottling/caps v1 5 0 0 4 0.0% 1 0" in page.text
    assert "! UNREADABLE 1 files, listed in their line's report" in page.text
    assert [chart["aria-label"] for chart in page.all("div") if chart.get("class") == "chart"][1:] == [
        "Histogram of 4 image scores: 1 pass, 1 review, 2 reject. REJECT ≥ 0.6.",
        "Histogram of 4 image scores: 2 pass, 1 review, 1 reject. REJECT ≥ 0.6.",
    ]
    assert not page.all("script")
    assert not re.search(r"https?:", page.source)
    caps, corks, _ = (Page(result.report.parent / link) for link in lines)
    assert "torn.png" in caps.text
    cards = [tag for tag in corks.all("li") if "data-score" in tag]
    assert [card["data-decision"] for card in cards] == ["REJECT", "REJECT", "REVIEW"]
    assert len([tag for tag in corks.all("img") if tag.get("class") == "heat"]) == 3 + 1  # and the large view's
