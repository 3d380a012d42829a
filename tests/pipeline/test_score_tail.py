"""p-values: the law that the threshold is set by, in a table that needs no scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtr

from pipeline.calibration import SourceScores, Threshold, calibrate, pool
from pipeline.score_spread import PRIOR_COUNT, bulk, straying
from pipeline.score_tail import ScoreTail

MAPS = np.zeros((20, 2, 2), np.float32)
SCORES = np.random.default_rng(0).normal(1.0, 0.2, 20)


def threshold(rate: float = 0.01, **known: np.ndarray | None) -> Threshold:
    return calibrate(SCORES, MAPS, target_false_reject_rate=rate, pooled=None, **known)


def p_of(found: Threshold, score: float) -> float:
    p = found.p_value(score)
    assert p is not None
    return p


@pytest.mark.parametrize("rate", [0.01, 0.0137, 0.2])
def test_a_part_at_the_threshold_has_the_rate_that_was_asked_for(rate: float):
    found = threshold(rate)
    assert p_of(found, found.reject) == pytest.approx(rate, rel=1e-9)


def test_the_table_says_what_the_prediction_interval_says():
    found, (middle, spread) = threshold(), bulk(SCORES)
    for score in np.linspace(middle - 2 * spread, middle + 12 * spread, 60):
        t = (score - middle) / spread / straying(20, 0) / np.sqrt(1 + 1 / 20)
        expected = 1 - stdtr(20 - 1 + PRIOR_COUNT, t)
        if expected > 1e-6:
            assert p_of(found, float(score)) == pytest.approx(expected, rel=0.06)


def test_p_values_fall_with_the_score_and_end_at_what_can_be_told():
    found = threshold()
    values = [p_of(found, score) for score in np.linspace(-3, 30, 200)]
    assert values == sorted(values, reverse=True)
    assert found.tail is not None
    assert values[0] == found.tail.rates[0]
    assert values[-1] == found.tail.smallest == 1e-6


def test_of_source_lines_no_smaller_share_is_told_than_they_showed():
    pooled = pool([SourceScores("earlier", SCORES[:4], SCORES[4:])])
    found = calibrate(SCORES[:4], MAPS[:4], target_false_reject_rate=0.1, pooled=pooled)
    assert p_of(found, 99.0) == pytest.approx(1 / 16)
    half = float(np.sort(SCORES[4:])[-8])
    assert p_of(found, half) == pytest.approx(0.5), "as many of the source lines' own images score as high"
    assert p_of(found, found.reject) == pytest.approx(found.expected_false_reject_rate) == pytest.approx(1 / 16)


def test_known_defects_move_the_threshold_and_not_the_law():
    before, moved = threshold(), threshold(known_defects=np.array([4.0]))
    assert moved.reject > before.reject
    alike = threshold(known_defects=np.array([bulk(SCORES)[0]]))  # moves nothing: twenty know how good parts spread
    assert moved.tail == alike.tail
    assert moved.expected_false_reject_rate == p_of(moved, moved.reject) < 0.01
    assert alike.expected_false_reject_rate == 0.01


def test_a_threshold_of_before_knows_no_p_value():
    tail = ScoreTail(rates=(0.5, 0.1), scores=(1.0, 2.0))
    assert tail.p_value(1.5) == pytest.approx((0.5 * 0.1) ** 0.5)
    found = threshold()
    assert found.p_value(None) is None
    assert Threshold(**{**vars(found), "tail": None}).p_value(1.0) is None
