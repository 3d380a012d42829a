"""The evaluation's figures by hand, its tables, and its files."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from flows.evaluation.plots import differences_plot, lines_plot, settings_plot
from flows.evaluation.report import (
    comparison_table,
    markdown,
    overall_table,
    write_csv,
    write_html,
    write_json,
    write_markdown,
)
from flows.evaluation.rows import METRIC, METRICS, Setting
from flows.evaluation.summary import Evaluation
from pipeline.errors import StorageError

FOUR = Setting(4, 0)
AUROC = METRIC["image_auroc"]


def row(line: str, learner: str, seed: int, image_auroc: float | None, defects: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "line": line,
        "learner": learner,
        "good": 4,
        "defects": defects,
        "seed": seed,
        "image_auroc": image_auroc,
        **more,
    }


# Data set "a" has two lines, "b" one; maml beats the memory bank by .10 and .20 on a's lines and loses .05 on b's.
ROWS = [
    row("a/one", "maml", 0, 0.80, adapt_seconds=1.0, aupro=0.5),
    row("a/one", "maml", 1, 0.90, adapt_seconds=3.0, aupro=math.nan),
    row("a/one", "memory_bank", 0, 0.70, adapt_seconds=0.5),
    row("a/one", "memory_bank", 1, 0.80, adapt_seconds=0.5),
    row("a/two", "maml", 0, 0.70),
    row("a/two", "maml", 1, 0.80),
    row("a/two", "memory_bank", 0, 0.50),
    row("a/two", "memory_bank", 1, 0.60),
    row("b/three", "maml", 0, 0.90),
    row("b/three", "maml", 1, 0.90),
    row("b/three", "memory_bank", 0, 0.95),
    row("b/three", "memory_bank", 1, 0.95),
]


def test_means_go_over_seeds_then_lines_then_data_sets():
    evaluation = Evaluation(ROWS)
    one = evaluation.line("image_auroc", "maml", FOUR, "a/one")
    assert one == pytest.approx((0.85, math.sqrt(0.005), 0.80, 0.90, 2))
    overall = evaluation.overall("image_auroc", "maml", FOUR)
    assert overall.mean == pytest.approx(((0.85 + 0.75) / 2 + 0.90) / 2)  # a plain mean of the lines would be .833
    assert (overall.lines, overall.data_sets) == (3, 2)
    by_seed = [((0.80 + 0.70) / 2 + 0.90) / 2, ((0.90 + 0.80) / 2 + 0.90) / 2]
    assert overall.deviation == pytest.approx(np.std(by_seed, ddof=1))


def test_differences_are_paired_by_line_and_seed_and_signed_so_that_more_is_better():
    evaluation = Evaluation(ROWS)
    pair = evaluation.paired("image_auroc", "maml", FOUR)
    assert pair.by_line == pytest.approx({"a/one": 0.10, "a/two": 0.20, "b/three": -0.05})
    assert pair.interval.mean == pytest.approx((0.15 - 0.05) / 2)
    assert (pair.interval.low, pair.interval.high) == pytest.approx((-0.05, 0.15))
    assert (pair.wins, pair.ties, pair.losses, pair.worst_line, pair.data_sets) == (2, 0, 1, "b/three", 2)
    assert pair.worst == pytest.approx(-0.05)
    slower = evaluation.paired("adapt_seconds", "maml", FOUR)
    assert slower.by_line == pytest.approx({"a/one": -1.5})  # 2.0 s on average against 0.5 s is worse
    assert math.isnan(slower.interval.low)  # one data set tells nothing of the spread
    same = evaluation.paired("image_auroc", "memory_bank", FOUR)
    assert (same.wins, same.ties, same.losses) == (0, 3, 0)


def test_undefined_values_are_left_out_never_zero():
    evaluation = Evaluation(ROWS)
    assert evaluation.line("aupro", "maml", FOUR, "a/one") == pytest.approx((0.5, math.nan, 0.5, 0.5, 1), nan_ok=True)
    overall = evaluation.overall("aupro", "maml", FOUR)
    assert overall.mean == 0.5
    assert overall.lines == 1
    assert math.isnan(evaluation.overall("aupro", "memory_bank", FOUR).mean)
    assert evaluation.paired("aupro", "maml", FOUR).by_line == {}
    assert [metric.key for metric in evaluation.metrics] == ["image_auroc", "aupro", "adapt_seconds"]


def test_a_failed_adaptation_is_unpaired_and_said():
    rows = [dict(entry) for entry in ROWS]
    rows[1] |= {"image_auroc": None, "note": "adaptation failed | expected a finite loss, got nan"}
    evaluation = Evaluation(rows)
    pair = evaluation.paired("image_auroc", "maml", FOUR)
    assert pair.unpaired == 1
    assert pair.by_line["a/one"] == pytest.approx(0.10)  # seed 0 against seed 0, not against the mean of both
    text = markdown(evaluation)
    assert "| a/one | 75.0 ± 7.1 | 80.0 * |" in text
    assert "(1 unpaired)" in text
    assert [entry.note for entry in evaluation.notes] == [rows[1]["note"]]


def test_a_learner_that_lacks_lines_is_not_shown_as_if_it_had_them():
    rows = [entry for entry in ROWS if (entry["learner"], entry["line"]) != ("maml", "a/two")]
    assert "(2 of 3 lines)" in markdown(Evaluation(rows))
    assert "lines)" not in markdown(Evaluation(ROWS), ["image_auroc"])


def test_settings_are_kept_apart():
    rows = [*ROWS, *(dict(entry) | {"defects": 2, "image_auroc": 0.99} for entry in ROWS)]
    evaluation = Evaluation(rows)
    assert evaluation.settings == (Setting(4, 0), Setting(4, 2))
    assert evaluation.overall("image_auroc", "maml", FOUR).mean == pytest.approx(0.85)
    assert evaluation.overall("image_auroc", "maml", Setting(4, 2)).mean == pytest.approx(0.99)
    assert Setting(4, 1).label == "4 good, 1 defect"


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(["a/1", "a/2", "b/1", "c"]), st.sampled_from(["memory_bank", "x"]), st.integers(0, 2)
        ),
        st.one_of(st.none(), st.floats(0, 1)),
        max_size=24,
    ),
    st.randoms(),
)
def test_figures_do_not_depend_on_the_order_of_rows(values, chance):
    rows = [row(line, learner, seed, value) for (line, learner, seed), value in values.items()]
    shuffled = list(rows)
    chance.shuffle(shuffled)
    first, second = Evaluation(rows), Evaluation(shuffled)
    for learner in ("memory_bank", "x"):
        ours = vars(first.overall("image_auroc", learner, FOUR))
        assert ours == pytest.approx(vars(second.overall("image_auroc", learner, FOUR)), nan_ok=True)
    pair, other = first.paired("image_auroc", "x", FOUR), second.paired("image_auroc", "x", FOUR)
    assert pair.by_line == pytest.approx(other.by_line)
    assert pair.interval == pytest.approx(other.interval, nan_ok=True)
    assert pair.wins + pair.ties + pair.losses == len(pair.by_line)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"line": "a", "learner": "b", "good": 4, "seed": 0}], "got row 0 without defects"),
        ([ROWS[0], ROWS[0]], "got two of a/one, maml, 4 good, 0 defects, seed 0"),
        ([row("a", "b", 0, math.inf)], "expected finite metrics or nan, got an infinite one in row 0"),
    ],
)
def test_rows_that_cannot_be_right_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        Evaluation(rows)


def test_the_data_set_is_given_or_read_from_the_line():
    rows = [row("a/one", "x", 0, 0.5), row("plain", "x", 0, 0.5), row("c/d", "x", 0, 0.5, data_set="other")]
    assert Evaluation(rows).data_sets == {"a/one": "a", "c/d": "other", "plain": "plain"}


# Tables


def printed(table: RenderableType) -> str:
    console = Console(width=200, file=io.StringIO(), color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_console_tables_show_the_figures():
    evaluation = Evaluation([*ROWS, row("a/one", "[red]odd", 0, 0.5)])
    text = printed(overall_table(evaluation))
    assert re.search(r"maml +│ +85\.0 ± 3\.5 │ +50\.0 │ +2 │", text)
    assert re.search(r"memory_bank +│ +80\.0 ± 3\.5 │ +– │ +0\.5 │", text)
    assert "[red]odd" in text  # a name is never markup
    text = printed(comparison_table(evaluation))
    assert re.search(r"maml +│ +\+5\.0 │ -5\.0 to \+15\.0 │ +2 / 0 / 1 │ b/three -5\.0", text)


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


# Files


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
    assert printed(overall_table(evaluation))
    assert markdown(evaluation).startswith("Shares in per cent.")
    with pytest.raises(StorageError):
        write_html(tmp_path / "nowhere" / "e.html", evaluation)


# Plots


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a/1", "a/2", "b/1"]),
            st.sampled_from(["memory_bank", "x", "y"]),
            st.integers(0, 1),
            st.sampled_from([0, 2]),
            st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1)),
        ),
        unique_by=lambda entry: entry[:4],
        max_size=30,
    ),
    st.sampled_from(["image_auroc", "false_reject_rate", "adapt_seconds"]),
)
def test_plots_stay_inside_their_frame_and_keep_the_order_of_values(entries, key):
    rows = [row(line, learner, seed, None, defects) | {key: value} for line, learner, seed, defects, value in entries]
    evaluation = Evaluation(rows)
    plots = [settings_plot(evaluation, METRIC[key])]
    for setting in evaluation.settings:
        plots.append(differences_plot(evaluation, METRIC[key], setting))
        drawn = lines_plot(evaluation, METRIC[key], setting)
        plots.append(drawn)
        if drawn is None:
            continue
        dots = [dot for band in drawn.bands for dot in band.dots]
        spreads = [
            evaluation.line(key, learner, setting, line) for line in evaluation.lines for learner in evaluation.learners
        ]
        means = [spread.mean for spread in spreads if spread.seeds]
        assert len(dots) == len(means)
        order = np.argsort(means, kind="stable")
        assert np.all(np.diff(np.array([dot.at for dot in dots])[order]) >= -0.011)
    for plot in plots:
        if plot is None:
            continue
        assert len(plot.ticks) >= 2
        for band in plot.bands:
            assert band.y + band.height <= plot.height
            for dot in band.dots:
                assert 0 <= dot.low <= dot.at <= dot.high <= 100
                assert all(0 <= place <= 100 for place in dot.small)
                assert band.y < dot.y < band.y + band.height


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1440])
def test_a_browser_shows_the_page_without_complaint(tmp_path: Path, width: int):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: install it to run this test")
    from playwright.sync_api import sync_playwright

    path = tmp_path / "e.html"
    write_html(path, Evaluation(ROWS))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        box = page.locator("svg circle.dot").first.bounding_box()
        assert box is not None
        assert box["width"] == pytest.approx(10, abs=0.5)
        assert page.locator("th[scope=row]").first.inner_text() == "memory_bank"
        assert complaints == []
        browser.close()
