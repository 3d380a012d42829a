"""What a threshold promises, and whether lines keep it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from pipeline.calibration import Threshold, calibrate
from pipeline.promise import COVERAGE, Promise, promise_of
from pipeline.score_spread import DEFAULT_SPREAD, straying

RATE = 0.02


def threshold_of(scores: np.ndarray, known: np.ndarray | None = None) -> Threshold:
    maps = np.zeros((len(scores), 2, 2), np.float32)
    return calibrate(scores, maps, target_false_reject_rate=RATE, pooled=None, known_defects=known)


@pytest.mark.parametrize("n", [4, 8, 30, 100])
def test_nine_of_ten_lines_reject_as_many_good_parts_as_promised(n: int):
    """Lines whose spread is drawn as the prior has it, and whose good parts stray as far as such lines' do."""
    rng, kept = np.random.default_rng(n), []
    for _ in range(400):
        spread = DEFAULT_SPREAD * rng.uniform(0.7, 1.4)
        strays = straying(n, 0)
        centre, width = rng.normal(0, 2), spread * rng.uniform(1.0, strays)
        scores = centre + spread * rng.standard_normal(n)
        drift = (strays - 1) * spread * rng.standard_normal()
        threshold = threshold_of(scores)
        promise = promise_of(threshold, scores, None)
        rate = 1 - ndtr((threshold.reject - centre - drift) / width)
        assert 0 <= promise.lowest_rate < promise.highest_rate <= 1
        kept.append(promise.lowest_rate <= rate <= promise.highest_rate)
    assert np.mean(kept) == pytest.approx(COVERAGE, abs=0.08)


def test_a_higher_threshold_promises_fewer_rejects():
    scores = np.random.default_rng(0).normal(0, 0.2, 10)
    promises = [promise_of(threshold_of(scores, known), scores, known) for known in (None, np.array([9.0]))]
    assert promises[1].highest_rate < 0.01 < promises[0].highest_rate
    assert promise_of(threshold_of(scores), scores, None) == promises[0], "drawn by one seed"


def test_known_defects_below_the_threshold_are_counted_as_passed():
    scores = np.random.default_rng(0).normal(0, 0.2, 10)
    threshold = threshold_of(scores)
    known = threshold.reject + np.array([-1.0, -0.01, 0.0, 0.5, 3.0])
    promise = promise_of(threshold, scores, known)
    assert (promise.known_defects, promise.known_defects_passed) == (5, 2)
    assert promise.share_passed == pytest.approx(0.4)


def test_without_known_defects_nothing_is_promised_of_them():
    assert math.isnan(Promise(lowest_rate=0.0, highest_rate=0.1).share_passed)
