"""The evaluation's figures by hand: means, paired differences, and rows that cannot be right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.evaluate.figures.evaluation_rows import Setting
from flows.evaluate.figures.summary import Evaluation, Note
from flows.evaluate.figures.tables import markdown
from tests.flows.evaluate.figures.rows import FOUR, ROWS, row


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
    assert evaluation.notes == (Note("a/one", rows[1]["note"], ("maml",), 1),)


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
