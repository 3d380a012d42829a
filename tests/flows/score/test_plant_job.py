"""A whole plant as a job: the command, its rows and maps, and the page of all lines."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
import tifffile
from typer.testing import CliRunner

from flows.cli import app
from flows.progress import Progress
from flows.score import plant_job as job
from flows.score.request import ScorePlantRequest
from pipeline.errors import ConfigError, LineError
from pipeline.settings import Device, load_settings
from tests.parts.html_page import Page
from tests.parts.plant import (
    write_image,
)
from tests.parts.whole_plant import CAPS, CORKS, PILL, SCALES, WholePlant, look_all_the_time


@pytest.fixture
def plant(home: Path, tmp_path: Path) -> WholePlant:
    """A plant whose home is in use."""
    plant = WholePlant(tmp_path)
    assert plant.registry.home == home
    return plant


def test_what_is_left_out_is_told(plant: WholePlant, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.webp", "strange/b.heic"):
        (plant.images / PILL / name).parent.mkdir(exist_ok=True)
        (plant.images / PILL / name).write_bytes(b"RIFF0000WEBP")
    done = CliRunner().invoke(app, ["score-plant", str(plant.images), "--device", "cpu", "--workers", "1"])
    assert done.exit_code == 1
    assert done.stderr.count("2 files left out, not read as images") == 1
    (page,) = (plant.registry.home / "plant-reports").glob("*/report.html")
    assert "2 files left out, not read as images" in page.read_text()


def test_the_command(plant: WholePlant, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    write_image(plant.images / "strange" / "1.png", brightness=9)
    arguments = ["score-plant", str(plant.images), "--device", "cpu", "--workers", "1"]
    done = CliRunner().invoke(app, [*arguments, "--json", "-", "--csv", str(plant.root / "rows.csv")])
    assert done.exit_code == 1, "as for every image that gets no decision"
    figures = json.loads(done.stdout)
    assert {row["line"]: row["images"] for row in figures["lines"]} == {PILL: 4, CAPS: 4, CORKS: 4}
    assert (figures["images"], figures["skipped_images"]) == (12, 1)
    assert "no registered line for the folder strange" in done.stderr
    assert "no decision on 1 image without a usable line" in done.stderr
    assert Path(figures["report"]).is_relative_to(home / "plant-reports")
    assert Path(figures["json"]) == Path(figures["report"]).with_name("results.json")
    assert (plant.root / "rows.csv").read_text().count("\n") == 1 + 12
    (plant.images / "strange" / "1.png").rename(plant.root / "1.png")
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "bottling/caps" in shown.stdout
    assert "nothing new: 12 images were scored before, " in shown.stdout
    assert len(list((home / "plant-reports").glob("*/report.html"))) == 2
    write_image(plant.images / "strange" / "2.png", brightness=9)
    nothing = CliRunner().invoke(app, ["score-plant", str(plant.images / "strange"), "--device", "cpu"])
    assert "expected images in folders that are named as registered lines" in str(nothing.exception)


def test_folders_of_lines_that_are_not_registered_are_told_while_the_run_goes_on(plant: WholePlant) -> None:
    for place in ("strange/night", "strange", "bottling/jars", "."):
        write_image(plant.images / place / f"{len(place)}.png", brightness=9, seed=len(place))
    request = ScorePlantRequest(images=plant.images, device=Device.CPU, workers=1)
    met: list[str] = []
    job.run(request, load_settings(), on_unregistered=met.append)
    assert Counter(met) == {"strange": 2, "bottling/jars": 1}


def test_an_unreadable_file_of_a_plant_ends_the_command_with_1(plant: WholePlant) -> None:
    (plant.images / CAPS / "notes.png").write_text("these are not pixels")
    done = CliRunner().invoke(app, ["score-plant", str(plant.images), "--device", "cpu", "--json", "-"])
    assert done.exit_code == 1, done.output
    figures = json.loads(done.stdout)
    assert {row["line"]: (row["images"], row["unreadable"]) for row in figures["lines"]} == {
        PILL: (4, 0),
        CAPS: (5, 1),
        CORKS: (4, 0),
    }
    rows = json.loads(Path(figures["json"]).read_text())["rows"]
    (bad,) = [row for row in rows if row["status"] == "unreadable"]
    assert bad["reason"].startswith("expected ")
    assert f"no decision on {plant.images / CAPS / 'notes.png'}: {bad['reason']}" in done.stderr


def test_rows_and_maps_of_all_lines(plant: WholePlant) -> None:
    plant.add(CAPS, "v2", scale=SCALES[CAPS])
    (plant.images / CAPS / "torn.png").write_bytes(b"no image")
    write_image(plant.images / "strange" / "1.png", brightness=9)
    out = plant.root / "out"
    request = ScorePlantRequest(
        images=plant.images,
        device=Device.CPU,
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
    assert len(rows) == result.summary.counts.found == 13
    assert {(line["line"], line["version"]) for line in told["lines"]} == {(PILL, "v1"), (CAPS, "v2"), (CORKS, "v1")}
    maps = {path.relative_to(out / "maps").as_posix(): path for path in out.glob("maps/**/*.tiff")}
    assert set(maps) == {f"{row['path']}.tiff" for row in rows if row["status"] == "scored"}
    (brightest,) = (row for row in rows if row["path"] == f"{CORKS}/shift/11.png")
    assert float(tifffile.imread(maps[f"{CORKS}/shift/11.png.tiff"]).max()) == float(brightest["score"])
    with pytest.raises(ConfigError, match="a folder for maps outside"):
        job.run(request.model_copy(update={"maps": plant.images / "maps"}), load_settings())


def test_an_archive_in_place_of_a_plants_folder_is_a_file(tmp_path: Path):
    (tmp_path / "plant.zip").touch()
    with pytest.raises(LineError, match=r"got a file, .*/plant\.zip: unpack it, and name the folder that comes out"):
        job.run(ScorePlantRequest(images=tmp_path / "plant.zip"), load_settings())


def test_a_watched_plant_ends_with_a_signal_and_has_a_page_of_all_lines(
    plant: WholePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_all_the_time(monkeypatch)
    (plant.images / CAPS / "torn.png").write_bytes(b"no image")
    request = ScorePlantRequest(
        images=plant.images, watch=True, device=Device.CPU, workers=2, report=plant.root / "out" / "day 1.html"
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
