"""Kept scores are read back as they were, and say what a threshold set from them does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.kept_scores import Cell, KeptScores, Scores, Setting
from benchmarks.learning_curve import figures_of

CELL = Cell("auto", "set/line", 4, 1, 0, 0)
SCORES = Scores(
    data_set="set",
    size=256,
    seconds=1.5,
    image_auroc=0.75,
    aupro=math.nan,
    alone=(0.4, 0.5, 0.6, 0.5),
    known=(2.0,),
    of_good=(0.5, 0.6, 3.0, 0.5),
    of_defective=(2.5, 0.1),
)


def test_scores_come_back(tmp_path: Path):
    path = tmp_path / "out" / "scores.jsonl"
    kept = KeptScores(path)
    assert CELL not in kept
    kept.add(CELL, SCORES)
    kept.add(CELL._replace(seed=1), SCORES)
    again = KeptScores(path)
    assert list(again) == [CELL, CELL._replace(seed=1)]
    assert math.isnan(again[CELL].aupro)
    assert (again[CELL].alone, again[CELL].of_good) == (SCORES.alone, SCORES.of_good)


def test_a_threshold_lies_between_good_parts_and_the_known_defect():
    threshold = SCORES.threshold(0.01)
    promise = SCORES.promise(threshold)
    assert 0.6 < threshold.reject < 2.0
    assert (promise.known_defects, promise.known_defects_passed) == (1, 0)
    assert SCORES.rates(threshold.reject) == (0.25, 0.5)


def test_figures_are_means_over_draws_then_lines(tmp_path: Path):
    kept = KeptScores(tmp_path / "scores.jsonl")
    for seed, auroc in enumerate((0.6, 0.8)):
        kept.add(CELL._replace(seed=seed), Scores(**{**SCORES.__dict__, "image_auroc": auroc}))
    kept.add(CELL._replace(line="set/other"), Scores(**{**SCORES.__dict__, "image_auroc": 0.9}))
    figures = figures_of(kept)
    assert list(figures) == [Setting("auto", 4, 1, 0)]
    assert figures[Setting("auto", 4, 1, 0)]["set"] == pytest.approx([0.8, math.nan, 0.25, 0.5], nan_ok=True)
