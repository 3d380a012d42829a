"""What the answers say of a bundle's rates, and how much of it is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from deploy.results.schema import QuestionKind, Verdict
from deploy.review.questions import latest_result
from deploy.review.rates import Rate, clopper_pearson, random_answers
from pipeline.calibration import Decision
from tests.deploy.review.asked_plant import AskedPlant, asked_kind, asked_result
from tests.deploy.scoring_plant import LINE


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (1, 1), (0, 50), (3, 50), (50, 50), (1, 1000)])
def test_the_interval_is_clopper_pearsons(hits: int, count: int) -> None:
    exact = binomtest(hits, count).proportion_ci(0.95, method="exact")
    assert clopper_pearson(hits, count) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_the_interval_holds_the_rate_as_often_as_it_says() -> None:
    rng, rate = np.random.default_rng(0), 0.03
    held = [low <= rate <= high for low, high in (clopper_pearson(int(k), 60) for k in rng.binomial(60, rate, 2000))]
    assert np.mean(held) >= 0.95


def test_of_nothing_nothing_is_known() -> None:
    assert (Rate("", 0, 0).share, Rate("", 0, 0).interval) == (None, (0.0, 1.0))


def test_rates_are_of_the_random_questions_alone_with_the_word_that_counts(asked: AskedPlant) -> None:
    """The brightest two are defective; all others are good, of which five are flagged."""
    browser, defective = asked.browser(), {asked.result(10).id, asked.result(11).id}
    page, expected = browser.see(), {}
    decisions = {row.id: row.decision for row in asked.store.query()}
    for _ in range(9):
        result = asked_result(page)
        verdict = Verdict.DEFECTIVE if result in defective else Verdict.GOOD
        if asked_kind(page) == QuestionKind.RANDOM:
            expected[result] = verdict
        page = browser.answer(page, verdict)
    table = answers(asked).table
    assert sum(table.values()) == len(expected) == 3, "of nine answers"
    for result, verdict in expected.items():
        assert table[verdict, decisions[result]] > 0

    result = min(expected)
    browser.answer(browser.see("/line", line=LINE, result=result), "defective")
    assert answers(asked).table[Verdict.DEFECTIVE, decisions[result]] > 0, "it was corrected later, unasked"
    assert answers(asked).count == 3


def test_taken_back_and_skipped_answers_are_in_no_rate(asked: AskedPlant) -> None:
    browser = asked.browser()
    page = browser.answer(browser.see(), "skip")
    assert asked_kind(page) == "random"
    page = browser.answer(page, "good")
    assert (answers(asked).count, answers(asked).skipped) == (1, 0)
    page = browser.send(page, "/undo")
    assert (answers(asked).count, answers(asked).skipped) == (0, 0)
    browser.answer(page, "skip")
    assert (answers(asked).count, answers(asked).skipped) == (0, 1)


def test_the_page_tells_rates_and_counts(asked: AskedPlant) -> None:
    browser = asked.browser()
    assert "nothing is known of its rates" in browser.see("/words", line=LINE)
    page = browser.see()
    while asked_kind(page) != "random":
        page = browser.answer(page, "skip")
    browser.answer(page, "good")
    told = browser.see("/words", line=LINE)
    assert "From 1 image asked about at random" in told
    rejected = answers(asked).table.get((Verdict.GOOD, Decision.REJECT), 0)
    assert f"{rejected} of 1" in told
    assert "Clopper-Pearson" in told


def answers(asked: AskedPlant):
    with asked.store.session() as session:
        latest = latest_result(session, LINE)
        assert latest is not None
        return random_answers(session, LINE, latest.bundle_id)
