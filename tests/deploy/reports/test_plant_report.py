"""The plant's page: every line against its own limits, names that stay text, and a page where nothing came."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from deploy.reports.plant_report import PlantLine, PlantReport, write_plant_report
from tests.deploy.reports.report_parts import HOSTILE, THRESHOLD, by_decision, counts_of
from tests.parts.html_page import Page

REPORT = PlantReport(
    name="north hall",
    source="/data/north",
    started_at=datetime(2026, 3, 1, 6, 30, tzinfo=UTC),
    seconds=7800.0,
    device="cpu, 2 threads",
    images_per_second=78.34,
    backbones=1,
    lines=[],
)


def line(name: str, scores: list[float], *, reject: float) -> PlantLine:
    threshold = replace(THRESHOLD, reject=reject, review=reject)
    decided = by_decision(scores, threshold)
    return PlantLine(
        line=name,
        version="v1",
        threshold=threshold,
        scores=decided,
        counts=counts_of(decided, unreadable=1, skipped=min(2, len(scores))),
        report=f"lines/{name}.html",
    )


def written(tmp_path: Path, data: PlantReport) -> Page:
    write_plant_report(tmp_path / "plant.html", data)
    return Page(tmp_path / "plant.html")


def test_each_line_stands_against_its_own_limit(tmp_path: Path) -> None:
    lines = [line("caps", [0.2, 0.5, 0.9], reject=0.8), line("a%2Fb", [0.2, 0.5, 0.9], reject=0.4)]
    page = written(tmp_path, replace(REPORT, lines=lines, left_out=["lids is skipped: none is live"]))
    for sentence in (
        "north hall",
        "2026-03-01 06:30 UTC, 2 h 10 min",
        "78.3 images/s",
        "✕ REJECT 3 37.5% of the images",
        "caps v1 4 1 0 2 33.3% 1 2",
        "a%2Fb v1 4 2 0 1 66.7% 1 2",
        "REJECT ≥ 0.8",
        "REJECT ≥ 0.4",
        "lids is skipped: none is live",
    ):
        assert sentence in page.text, sentence
    assert unquote(page.all("a")[2]["href"] or "") == "lines/a%2Fb.html", "an address of the file as it is named"


def test_hostile_names_stay_text_and_nothing_loads(tmp_path: Path) -> None:
    lines = [line(HOSTILE, [0.2], reject=1.0)]
    page = written(tmp_path, replace(REPORT, name=HOSTILE, source=HOSTILE, lines=lines, left_out=[HOSTILE]))
    assert HOSTILE not in page.source
    assert page.text.count(HOSTILE) >= 5
    assert not page.all("script") and not page.all("img") and not page.all("link")


def test_a_plant_where_nothing_came_has_a_page(tmp_path: Path) -> None:
    page = written(tmp_path, replace(REPORT, images_per_second=None, left_out=["none is live"] * 203))
    assert "3 more are not listed here." in page.text
    assert "No image of a registered line came." in page.text
    assert "images/s" not in page.text
