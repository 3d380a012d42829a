"""What the scenarios' rows say, by hand: the same learner under two conditions, and forgetting."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.evaluate.figures.contrasts import contrast_pairs, contrasts, forgetting
from flows.evaluate.figures.evaluation_page import write_csv, write_html
from flows.evaluate.figures.evaluation_rows import Setting
from flows.evaluate.figures.summary import Evaluation
from flows.evaluate.figures.tables import contrast_tables, forgetting_table, markdown


def row(line: str, image_auroc: float, *, learner: str = "maml", seed: int = 0, **keys: Any) -> dict[str, Any]:
    given = {"line": line, "learner": learner, "good": 4, "defects": 1, "seed": seed}
    return given | {"image_auroc": image_auroc, "false_reject_rate": 1 - image_auroc} | keys


def shifted(line: str, unshifted: float, stale: float, re_adapted: float, unadapted: float) -> list[dict[str, Any]]:
    return [
        row(line, unshifted, condition="as taken", adaptation="unshifted"),
        row(line, stale, condition="light", adaptation="stale", strength=1.0),
        row(line, re_adapted, condition="light", adaptation="re-adapted", strength=1.0),
        row(line, unadapted, condition="light", adaptation="unadapted", strength=1.0),
    ]


def staged(line: str, condition: str, first: int, figures: list[float], seed: int = 0) -> list[dict[str, Any]]:
    return [
        row(line, figure, condition=condition, stage=stage, arrived=first, seed=seed)
        for stage, figure in enumerate(figures, first)
    ]


SHIFTED = [
    *shifted("a/1", 0.9, 0.6, 0.8, 0.5),
    *shifted("a/2", 0.8, 0.7, 0.6, 0.7),
    *shifted("b/1", 0.9, 0.9, 0.9, 0.8),
]

# Under replay a/1 is best at stage 2 and ends .05 below it, b/1 gains .10; b/2 came last and has nothing to forget.
REPLAY = [*staged("a/1", "replay", 1, [0.80, 0.90, 0.85]), *staged("b/1", "replay", 2, [0.60, 0.70])]
NEWEST = [
    *staged("a/1", "newest line alone", 1, [0.80, 0.70, 0.50]),
    *staged("b/1", "newest line alone", 2, [0.6, 0.6]),
]
LAST = [*staged("b/2", "replay", 3, [0.75]), *staged("b/2", "newest line alone", 3, [0.95])]


def test_contrasts_are_paired_inside_a_learner():
    evaluation = Evaluation(SHIFTED)
    pairs = {contrast.label: pair for contrast, _, pair in contrast_pairs(evaluation, "image_auroc")}
    assert set(pairs) == {"re-adapted - stale", "stale - unshifted", "stale - unadapted"}
    assert pairs["re-adapted - stale"].by_line == pytest.approx({"a/1": 0.2, "a/2": -0.1, "b/1": 0.0})
    assert pairs["re-adapted - stale"].interval.mean == pytest.approx((0.05 + 0.0) / 2)
    assert pairs["stale - unshifted"].by_line == pytest.approx({"a/1": -0.3, "a/2": -0.1, "b/1": 0.0})
    assert pairs["stale - unadapted"].by_line == pytest.approx({"a/1": 0.1, "a/2": 0.0, "b/1": 0.1})
    assert {contrast.given for contrast in contrasts(evaluation)} == {"4 good, 1 defect, light"}


def test_own_theta_is_compared_with_the_shared_one_and_replay_with_the_newest_line_alone():
    rows = [row("a", 0.9, adaptation="own"), row("a", 0.7, adaptation="shared")]
    (entry,) = contrast_pairs(Evaluation(rows), "image_auroc")
    assert entry[0].label == "own - shared"
    assert entry[2].by_line == pytest.approx({"a": 0.2})
    (entry,) = contrast_pairs(Evaluation([*REPLAY, *NEWEST, *LAST]), "image_auroc")
    assert entry[0].label == "replay - newest line alone"
    assert entry[2].by_line == pytest.approx({"a/1": 0.35, "b/1": 0.1, "b/2": -0.2})


def test_a_contrast_without_its_other_side_is_left_out():
    assert contrasts(Evaluation([entry for entry in SHIFTED if entry["adaptation"] == "stale"])) == []
    assert contrasts(Evaluation([row("a", 0.5)])) == []


def test_forgetting_is_the_best_earlier_figure_minus_the_last():
    evaluation = Evaluation([*REPLAY, *NEWEST, *LAST])
    replay = forgetting(evaluation, "image_auroc", "maml", Setting(4, 1, "replay"))
    newest = forgetting(evaluation, "image_auroc", "maml", Setting(4, 1, "newest line alone"))
    assert replay == pytest.approx(((0.80 + 0.60) / 2, (0.85 + 0.70) / 2, (0.05 - 0.10) / 2, 2))
    assert newest == pytest.approx(((0.80 + 0.60) / 2, (0.50 + 0.60) / 2, (0.30 + 0.0) / 2, 2))
    lower = forgetting(evaluation, "false_reject_rate", "maml", Setting(4, 1, "replay"))
    assert lower is not None
    assert lower.forgotten == pytest.approx(-0.025), "lower is better there, and the sign follows"


def test_forgetting_is_taken_seed_by_seed_before_the_mean():
    rows = [*staged("a", "replay", 1, [0.9, 0.5, 0.6]), *staged("a", "replay", 1, [0.5, 0.9, 0.6], seed=1)]
    found = forgetting(Evaluation(rows), "image_auroc", "maml", Setting(4, 1, "replay"))
    assert found is not None
    assert found.forgotten == pytest.approx(0.3), "the best of the mean would be .7 and forget .1"
    assert forgetting(Evaluation(SHIFTED), "image_auroc", "maml", Setting(4, 1, "light", "stale")) is None


def test_other_figures_are_those_of_the_last_stage():
    evaluation = Evaluation(list(reversed([*REPLAY, LAST[0]])))
    setting = Setting(4, 1, "replay")
    assert evaluation.settings == (setting,)
    assert evaluation.line("image_auroc", "maml", setting, "a/1").mean == 0.85
    assert evaluation.overall("image_auroc", "maml", setting).mean == pytest.approx((0.85 + (0.70 + 0.75) / 2) / 2)


def test_tables_page_and_csv_show_them(tmp_path: Path):
    console = Console(width=200, file=io.StringIO(), color_system=None)
    evaluation = Evaluation(SHIFTED)
    console.print(*contrast_tables(evaluation, console.width))
    assert forgetting_table(evaluation).row_count == 0
    incremental = Evaluation([*REPLAY, *NEWEST, *LAST])
    console.print(forgetting_table(incremental))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for text in ("re-adapted - stale", "+2.5", "newest line alone", "+15.0", "-2.5"):
        assert text in shown, text
    assert "| 4 good, 1 defect, light | re-adapted - stale | maml | +2.5 |" in markdown(evaluation)
    assert "| 4 good, 1 defect, replay | maml | 70.0 | 77.5 | -2.5 | 2 |" in markdown(incremental)
    write_html(tmp_path / "e.html", incremental)
    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert '<td class="number">-2.5</td>' in page
    assert "replay - newest line alone" in page
    write_csv(tmp_path / "e.csv", incremental)
    with (tmp_path / "e.csv").open(encoding="utf-8", newline="") as file:
        back = list(csv.DictReader(file))
    assert len(back) == len(incremental.rows)
    assert {(entry["condition"], entry["stage"], entry["arrived"]) for entry in back} >= {("replay", "3", "2")}
    again = Evaluation({key: value or None for key, value in entry.items()} for entry in back)
    assert forgetting(again, "image_auroc", "maml", Setting(4, 1, "replay")) == forgetting(
        incremental, "image_auroc", "maml", Setting(4, 1, "replay")
    )


def test_two_rows_of_one_stage_are_refused():
    with pytest.raises(ValueError, match="got two of a/1, maml, 4 good, 1 defect, replay"):
        Evaluation([*REPLAY, REPLAY[0]])
