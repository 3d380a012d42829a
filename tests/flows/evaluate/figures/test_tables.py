"""The evaluation's tables, its files and its page."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from flows.evaluate.figures.evaluation_page import write_csv, write_html, write_json, write_markdown
from flows.evaluate.figures.evaluation_rows import METRICS
from flows.evaluate.figures.summary import Evaluation
from flows.evaluate.figures.tables import comparison_table, markdown, overall_table
from pipeline.errors import StorageError
from tests.flows.evaluate.figures.rows import FOUR, ROWS, row
from tests.parts.chromium import open_page

WIDTH = 200
"""Characters of a terminal in which every column fits."""


def printed(table: RenderableType, width: int = WIDTH) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_console_tables_show_the_figures():
    evaluation = Evaluation([*ROWS, row("a/one", "[red]odd", 0, 0.5)])
    text = printed(overall_table(evaluation, WIDTH))
    assert re.search(r"maml +│ +85\.0 ± 3\.5 │ +50\.0 │ +2 │", text)
    assert re.search(r"memory_bank +│ +80\.0 ± 3\.5 │ +– │ +0\.5 │", text)
    assert "[red]odd" in text  # a name is never markup
    text = printed(comparison_table(evaluation, WIDTH))
    assert re.search(r"maml +│ +\+5\.0 │ -5\.0 to \+15\.0 │ +2 / 0 / 1 │ b/three -5\.0", text)


@pytest.mark.parametrize("width", [32, 42, 46, 60])
def test_a_narrow_terminal_gets_whole_columns_the_headline_first(width: int):
    evaluation = Evaluation(ROWS)
    text = printed(overall_table(evaluation, width), width)
    row = re.search(r"memory_bank +│ +80\.0 ± 3\.5 .*", text)
    assert row, "no figure is cut or broken"
    said = re.search(r"(\d+)\s+more\s+columns", text)
    assert row[0].count("│") - 1 + (int(said[1]) if said else 0) == len(evaluation.metrics)


def test_a_narrow_terminal_gets_the_differences_without_the_lines():
    text = printed(comparison_table(Evaluation(ROWS), 80), 80)
    assert re.search(r"maml +│ +\+5\.0 │ -5\.0 to \+15\.0 │", text)
    assert "b/three" not in text
    assert "wider terminal" in text


def test_markdown_is_whole_and_its_cells_cannot_break_it(tmp_path: Path):
    rows = [*ROWS, row("a/one", "od|d", 0, 0.5)]
    evaluation = Evaluation(rows)
    text = markdown(evaluation, ["image_auroc", "adapt_seconds"])
    assert "| Learner | Image AUROC | Adapt, s |" in text
    assert "| maml | 85.0 ± 3.5 | 2 |" in text
    assert "| maml | +5.0 | -5.0 to +15.0 | 2 / 0 / 1 | b/three -5.0 |" in text
    assert "| od\\|d |" in text
    for block in text.split("\n\n"):
        if block.startswith("|"):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(widths) == 1, block
    write_markdown(tmp_path / "table.md", evaluation, ["image_auroc", "adapt_seconds"])
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text


# --- files


def test_csv_holds_every_row(tmp_path: Path):
    write_csv(tmp_path / "e.csv", Evaluation(ROWS))
    with (tmp_path / "e.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(ROWS)
    assert rows[1]["image_auroc"] == "0.9"
    assert rows[1]["aupro"] == ""
    assert {metric.key for metric in METRICS} <= rows[0].keys()
    back = [{key: value or None for key, value in entry.items()} for entry in rows]
    assert Evaluation(back).overall("image_auroc", "maml", FOUR) == Evaluation(ROWS).overall(
        "image_auroc", "maml", FOUR
    )


def test_json_holds_rows_means_and_differences_without_nan(tmp_path: Path):
    write_json(tmp_path / "e.json", Evaluation(ROWS), {"backbone": "lite0"})
    read = json.loads((tmp_path / "e.json").read_text(), parse_constant=pytest.fail)
    assert read["about"] == {"backbone": "lite0"}
    assert len(read["rows"]) == len(ROWS)
    assert read["rows"][1]["aupro"] is None
    means = {(entry["learner"], entry["metric"]): entry["mean"] for entry in read["overall"]}
    assert means["maml", "image_auroc"] == pytest.approx(0.85)
    assert means["memory_bank", "aupro"] is None
    (pair,) = [entry for entry in read["paired"] if entry["metric"] == "image_auroc"]
    assert (pair["learner"], pair["baseline"], pair["worst_line"]) == ("maml", "memory_bank", "b/three")
    assert (pair["mean"], pair["low"], pair["high"]) == pytest.approx((0.05, -0.05, 0.15))


def test_the_page_shows_tables_plots_and_notes_and_hostile_names_stay_text(tmp_path: Path):
    hostile = "<script>document.title='owned'</script>"
    rows = [*ROWS, row("a/one", "maml", 2, None, note=hostile), row(hostile, hostile, 0, 0.5, defects=2)]
    path = tmp_path / "e.html"
    write_html(path, Evaluation(rows), title=hostile, about={"Device": hostile}, files=["e 1.csv"])
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "script-src &#39;none&#39;" in page
    assert not re.search(r"https?:|url\(|@import|style=\"", page)
    assert page.count("<svg") == 1 + 1 + 3  # over settings, differences, lines (two metrics, then one)
    assert 'href="e%201.csv"' in page
    for text in ("85.0 ± 3.5", "+5.0", "-5.0 to +15.0", "2 / 0 / 1", "b/three -5.0", "4 good, 2 defects"):
        assert text in page, text


def test_a_page_and_tables_of_nothing_say_so(tmp_path: Path):
    evaluation = Evaluation([])
    write_html(tmp_path / "e.html", evaluation)
    assert "No adaptation was evaluated." in (tmp_path / "e.html").read_text(encoding="utf-8")
    write_json(tmp_path / "e.json", evaluation)
    write_csv(tmp_path / "e.csv", evaluation)
    assert printed(overall_table(evaluation, WIDTH))
    assert markdown(evaluation).startswith("Shares in per cent.")
    with pytest.raises(StorageError):
        write_html(tmp_path / "nowhere" / "e.html", evaluation)


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1440])
def test_a_browser_shows_the_page_without_complaint(tmp_path: Path, width: int):
    path = tmp_path / "e.html"
    write_html(path, Evaluation(ROWS))
    with open_page(viewport={"width": width, "height": 900}) as page:
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        box = page.locator("svg circle.dot").first.bounding_box()
        assert box is not None
        assert box["width"] == pytest.approx(10, abs=0.5)
        assert page.locator("th[scope=row]").first.inner_text() == "memory_bank"
        assert complaints == []
