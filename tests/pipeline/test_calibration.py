"""Thresholds: what rate they keep on good parts, what they say of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.calibration import Decision, PooledCalibration, SourceScores, Threshold, calibrate, pool
from pipeline.errors import ConfigError

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
