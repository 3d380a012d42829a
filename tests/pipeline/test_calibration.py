"""Thresholds: what rate they keep on good parts, what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.calibration import (
    Decision,
    PooledCalibration,
    SourceScores,
    Threshold,
    calibrate,
    pool,
)
from pipeline.errors import ConfigError
from pipeline.score_spread import DEFAULT_SPREAD, bulk, centre, straying

RNG = np.random.default_rng(0)
MAPS = np.zeros((4, 2, 2), np.float32)


def sources(lines: int, *, shift: float = 0.3, spread: float = 0.2, query: int = 40) -> list[SourceScores]:
    """Lines of different level and scale; new good images lie `shift` spreads above the support's own scores."""
    made = []
    for index in range(lines):
        level, scale = RNG.normal(0, 2), spread * RNG.uniform(0.7, 1.4)
        loo = level + scale * RNG.normal(size=4)
        made.append(SourceScores(f"line{index}", loo, level + scale * (shift + RNG.normal(size=query))))
    return made


def false_rejects(pooled: PooledCalibration | None, rate: float, lines: int = 300) -> float:
    rejected = []
    for episode in sources(lines):
        threshold = calibrate(episode.leave_one_out, MAPS, target_false_reject_rate=rate, pooled=pooled)
        rejected.append((episode.good_query >= threshold.reject).mean())
    return float(np.mean(rejected))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_pooled_threshold_keeps_the_rate_on_new_lines(rate: float):
    pooled = pool(sources(60))
    assert false_rejects(pooled, rate) == pytest.approx(rate, abs=0.35 * rate + 0.01)


def test_prediction_interval_without_source_lines_keeps_the_rate_when_new_images_are_alike():
    rejected = []
    for episode in sources(400, shift=0.0, spread=0.15):
        threshold = calibrate(episode.leave_one_out, MAPS, target_false_reject_rate=0.05, pooled=None)
        rejected.append((episode.good_query >= threshold.reject).mean())
    assert float(np.mean(rejected)) == pytest.approx(0.05, abs=0.03)


def test_fewer_rejects_asked_for_never_lower_the_threshold():
    pooled = pool(sources(20))
    loo = sources(1)[0].leave_one_out
    rejects = [
        calibrate(loo, MAPS, target_false_reject_rate=rate, pooled=pooled).reject
        for rate in (0.5, 0.2, 0.05, 0.01, 1e-4)
    ]
    assert rejects == sorted(rejects)


def test_rate_below_what_the_sample_can_show_lies_just_beyond_the_largest_deviation():
    pooled = pool(sources(3, query=5))
    threshold = calibrate(sources(1)[0].leave_one_out, MAPS, target_false_reject_rate=1e-6, pooled=pooled)
    assert threshold.expected_false_reject_rate == 0.0
    assert threshold.sample_count == 4 + 15


def test_lines_count_alike_whatever_their_number_of_images():
    small, large = SourceScores("a", np.zeros(2), np.full(1, 5.0)), SourceScores("b", np.zeros(2), np.zeros(99))
    deviations, weights = pool([small, large]).sample()
    assert weights.sum() == pytest.approx(1.0)
    assert weights[deviations.argmax()] == pytest.approx(0.5)


def test_a_line_that_strays_wholesale_is_left_out():
    usual = sources(9)
    strayed = SourceScores("strayed", usual[0].leave_one_out, usual[0].good_query + 100.0)
    with_it, without = pool([*usual, strayed]), pool(usual)
    assert with_it.strayed == ("strayed",)
    assert without.strayed == ()
    rejects = [
        calibrate(usual[0].leave_one_out, MAPS, target_false_reject_rate=0.01, pooled=pooled).reject
        for pooled in (with_it, without)
    ]
    assert rejects[0] == pytest.approx(rejects[1], abs=0.05)


def test_single_good_image_still_gets_a_threshold_above_its_score():
    threshold = calibrate(np.array([0.4]), MAPS[:1], target_false_reject_rate=0.01, pooled=None)
    assert threshold.reject > threshold.review > 0.4


def test_one_good_part_far_from_all_others_does_not_widen_the_bulk():
    scores = np.random.default_rng(1).normal(0.5, 0.2, 30)
    outlier = np.append(scores[:-1], 8.0)
    (middle, spread), (with_it, spread_with_it) = bulk(scores), bulk(outlier)
    assert with_it == pytest.approx(middle, abs=0.05)
    assert spread_with_it == pytest.approx(spread, rel=0.25)
    assert centre(outlier, DEFAULT_SPREAD)[1] > 4 * spread_with_it
    maps = np.zeros((30, 2, 2), np.float32)
    rejects = [calibrate(s, maps, target_false_reject_rate=0.01, pooled=None).reject for s in (scores, outlier)]
    assert rejects[1] == pytest.approx(rejects[0], abs=0.25)


def test_of_many_normal_scores_the_bulk_is_their_mean_and_standard_deviation():
    assert bulk(np.random.default_rng(0).normal(0.5, 0.3, 4000)) == pytest.approx((0.5, 0.3), abs=0.02)


@pytest.mark.parametrize("n", [1, 4, 11])
def test_below_twelve_scores_the_bulk_is_all_of_them(n: int):
    scores = np.random.default_rng(n).normal(0, 0.5, n)
    assert bulk(scores) == centre(scores, DEFAULT_SPREAD)


def test_twelve_scores_are_a_bulk():
    scores = np.append(np.zeros(11), 5.0)
    assert bulk(scores)[1] < centre(scores, DEFAULT_SPREAD)[1]


def test_good_parts_stray_the_further_the_more_scores_there_are_up_to_a_bound():
    assert [straying(n, 4) for n in (1, 3, 4)] == [1.0, 1.0, 1.0]
    rising = [straying(n, 0) for n in (4, 5, 8, 16, 30, 1000)]
    assert rising == sorted(set(rising))
    assert straying(10**9, 0) == pytest.approx(1.8)
    with_more_defects = [straying(30, defects) for defects in (0, 1, 4, 500)]
    assert with_more_defects == sorted(set(with_more_defects))
    assert straying(10**9, 10**9) == pytest.approx(2.4)


@pytest.mark.parametrize("good", [4, 30])
def test_known_defects_above_the_limit_raise_it_by_half_of_the_gap(good: int):
    found, before = beside_defects(good)
    raised = found(before.reject + 3.0, before.reject + 1.0)
    assert raised.reject - before.reject == pytest.approx(0.5), "the weakest of them tells"
    assert found(before.reject + 3.0, before.reject).reject == before.reject


def test_known_defects_below_it_lower_the_limit_of_few_good_images_by_a_quarter_at_most():
    found, before = beside_defects(4)
    assert found(before.reject - 0.1, before.reject - 0.1).reject == pytest.approx(before.reject - 0.05)
    lowest = found(-50.0, -50.0)
    assert lowest.reject == pytest.approx(before.reject - 0.25 * (before.reject - before_mean(4)))
    assert lowest.review <= lowest.reject
    found, before = beside_defects(30)
    assert found(-50.0, -50.0).reject == before.reject, "thirty know how good parts spread"


def before_mean(good: int) -> float:
    return float(np.random.default_rng(good).normal(0, 0.2, good).mean())


def beside_defects(good: int) -> tuple[Callable[..., Threshold], Threshold]:
    """Thresholds of these good images beside known defects, and the one beside a defect at its limit."""
    loo, maps = np.random.default_rng(good).normal(0, 0.2, good), np.zeros((good, 2, 2), np.float32)

    def found(*known: float) -> Threshold:
        return calibrate(loo, maps, target_false_reject_rate=0.01, pooled=None, known_defects=np.array(known))

    at_limit = found(99.0, 99.0).reject
    for _ in range(60):  # a defect at the limit neither raises nor lowers it
        at_limit = found(at_limit, at_limit).reject
    return found, found(at_limit, at_limit)


def test_decisions_at_the_borders():
    threshold = Threshold(
        reject=2.0,
        review=1.0,
        pixel=0.0,
        method="by hand",
        sample_count=1,
        target_false_reject_rate=0.01,
        expected_false_reject_rate=0.01,
    )
    decisions = [threshold.decide(score) for score in (0.99, 1.0, 1.99, 2.0, float("nan"))]
    assert decisions == [Decision.PASS, Decision.REVIEW, Decision.REVIEW, Decision.REJECT, Decision.REVIEW]


def test_pooled_calibration_survives_json():
    pooled = pool(sources(2))
    assert PooledCalibration.from_json(pooled.to_json()) == pooled


@pytest.mark.parametrize("rate", [0.0, -1.0, 0.6])
def test_rate_out_of_range_is_refused(rate: float):
    with pytest.raises(ConfigError, match=r"above 0 and at most 0\.5"):
        calibrate(np.zeros(2), MAPS[:2], target_false_reject_rate=rate, pooled=None)


def test_no_good_query_image_is_refused():
    with pytest.raises(ConfigError, match="good images outside the support"):
        pool([SourceScores("a", np.zeros(3), np.zeros(0))])
