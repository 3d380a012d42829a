"""What a threshold promises, and whether lines keep it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from deploy.bundles.facts import all_facts
from pipeline.calibration import Threshold, calibrate
from pipeline.more_images import adapted_with_more, calibrated_with, distribution_free_count
from pipeline.promise import COVERAGE, Forecast, Promise, counted_interval, promise_of
from pipeline.score_spread import DEFAULT_SPREAD, straying
from tests.parts.plant import make_draft

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
        drift = (strays - 1) * spread * rng.standard_t(2)
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


def test_a_single_good_image_beside_defects_promises_less_than_one_without():
    score, known = np.zeros(1), np.array([5.0, 6.0])
    threshold = threshold_of(score)
    without, beside = (promise_of(threshold, score, defects) for defects in (None, known))
    assert beside.highest_rate > 1.5 * without.highest_rate


def test_known_defects_below_the_threshold_are_counted_as_passed():
    scores = np.random.default_rng(0).normal(0, 0.2, 10)
    threshold = threshold_of(scores)
    known = threshold.reject + np.array([-1.0, -0.01, 0.0, 0.5, 3.0])
    promise = promise_of(threshold, scores, known)
    assert (promise.known_defects, promise.known_defects_passed) == (5, 2)
    assert promise.share_passed == pytest.approx(0.4)


def test_without_known_defects_nothing_is_promised_of_them():
    assert math.isnan(Promise(lowest_rate=0.0, highest_rate=0.1).share_passed)


def test_more_good_images_narrow_what_two_promise_and_hardly_what_four_or_many_do():
    for n, expected in ((2, (6,)), (4, ()), (30, ())):
        scores = np.random.default_rng(n).normal(0, 0.2, n)
        threshold = threshold_of(scores)
        promise = promise_of(threshold, scores, None)
        told = adapted_with_more(threshold, promise, scores, np.empty(0))
        assert tuple(forecast.images for forecast in told) == expected
        assert all(forecast.highest_rate < 0.85 * promise.highest_rate for forecast in told)


def test_images_that_the_head_does_not_know_narrow_it_alike_for_every_line():
    wide = Promise(lowest_rate=0.0, highest_rate=0.2)
    told = calibrated_with(0.01, wide)
    assert [forecast.images for forecast in told] == [30, 300]
    assert told[0].highest_rate > told[1].highest_rate
    assert told[1] == Forecast(
        images=300, lowest_rate=counted_interval(2, 300)[0], highest_rate=counted_interval(2, 300)[1]
    )
    assert [forecast.images for forecast in calibrated_with(0.01, wide, 100)] == [200], "beside those that it has"
    assert calibrated_with(0.01, Promise(lowest_rate=0.0, highest_rate=0.001)) == ()


@pytest.mark.parametrize(("rate", "images"), [(0.01, 99), (0.05, 19), (0.5, 1), (0.03, 33)])
def test_so_many_good_images_keep_a_rate_whatever_the_law(rate: float, images: int):
    assert distribution_free_count(rate) == images
    assert 1 / (images + 1) <= rate < 1 / images


def test_the_facts_tell_what_more_images_would_buy():
    scores = np.random.default_rng(2).normal(0, 0.2, 2)
    threshold = threshold_of(scores)
    promise = promise_of(threshold, scores, None)
    promise = replace(
        promise,
        adapted_with_more=adapted_with_more(threshold, promise, scores, np.empty(0)),
        calibrated_with=calibrated_with(RATE, promise),
    )
    draft = make_draft().model_copy(update={"threshold": threshold, "promise": promise})
    told = {fact.key: fact.value for fact in all_facts(draft)}
    assert "with 6 more good ones to adapt from (unlabelled ones that look good count alike); " in told["more_images"]
    assert " images that it was not adapted from" in told["more_images"]
    assert told["distribution_free"].startswith("49 new ones for linewise calibrate")
    before = draft.model_copy(update={"promise": promise_of(threshold, scores, None)})
    assert "more_images" not in {fact.key for fact in all_facts(before)}, "nobody computed it"
