"""Thresholds set anew from images that are new to the head."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.calibration import Threshold
from pipeline.errors import LineError
from pipeline.promise import COVERAGE, Promise, counted_among, counted_interval
from pipeline.recalibration import recalibrate

NONE = np.empty(0)
DISTRIBUTION_FREE = "distribution-free limit"


def found(
    scores: np.ndarray, known: np.ndarray = NONE, *, rate: float = 0.05, labelled: bool = True
) -> tuple[Threshold, Promise]:
    return recalibrate(scores, scores.astype(np.float32), known, rate=rate, labelled=labelled)


def heavy(rng: np.random.Generator, n: int) -> np.ndarray:
    """Scores of which no normal law knows anything."""
    return np.exp(1.5 * rng.standard_normal(n))


def test_enough_good_images_keep_the_rate_whatever_the_law_of_their_scores() -> None:
    rng, rates, kept = np.random.default_rng(0), [], []
    for _ in range(400):
        threshold, promise = found(heavy(rng, 40))
        rates.append(float((heavy(rng, 2000) >= threshold.reject).mean()))
        kept.append(promise.lowest_rate <= rates[-1] <= promise.highest_rate)
        assert threshold.method == DISTRIBUTION_FREE
        assert threshold.expected_false_reject_rate == 2 / 41
    assert np.mean(rates) == pytest.approx(2 / 41, abs=0.006)
    assert np.mean(kept) >= COVERAGE - 0.05


@pytest.mark.parametrize(("n", "method"), [(18, "prediction interval"), (19, DISTRIBUTION_FREE)])
def test_from_one_over_the_rate_on_it_is_distribution_free(n: int, method: str) -> None:
    assert found(heavy(np.random.default_rng(0), n))[0].method == method


def test_few_good_images_keep_the_rate_where_their_scores_are_normal() -> None:
    rng, rates = np.random.default_rng(1), []
    for _ in range(400):
        threshold, promise = found(rng.normal(1.0, 0.15, 8), rate=0.02)
        rates.append(float((rng.normal(1.0, 0.15, 2000) >= threshold.reject).mean()))
        assert 0 <= promise.lowest_rate < promise.highest_rate <= 1
    assert np.mean(rates) == pytest.approx(0.02, abs=0.01)


def test_a_few_defects_among_unlabelled_images_do_not_move_it() -> None:
    scores = np.random.default_rng(2).normal(1.0, 0.2, 95)
    (clean, _), (threshold, _) = (found(s, labelled=False) for s in (scores, np.append(scores, np.full(5, 9.0))))
    assert threshold.reject == pytest.approx(clean.reject, abs=0.08)
    assert threshold.pixel == pytest.approx(clean.pixel, abs=0.05), "nor what is outlined"
    assert found(np.append(scores, np.full(5, 9.0)))[0].reject > 8, "as good ones they would count"


def test_good_images_that_refute_the_normal_law_set_the_threshold_as_more_of_them_would() -> None:
    """Rejecting six of 56 good images for 1 % asked was told, and done."""
    scores = np.append(np.random.default_rng(5).normal(1.0, 0.2, 50), np.full(6, 9.0))
    threshold, promise = found(scores, rate=0.01)
    assert threshold.method == DISTRIBUTION_FREE
    assert not (scores >= threshold.reject).any()
    assert threshold.expected_false_reject_rate == 1 / 57
    assert (promise.lowest_rate, promise.highest_rate) == counted_interval(0, 56)
    assert found(scores, rate=0.01, labelled=False)[1].highest_rate < 0.05, "unlabelled ones may be defects"


def test_more_unlabelled_images_are_promised_what_they_would_give() -> None:
    rng = np.random.default_rng(6)
    told = found(rng.normal(1.0, 0.15, 30), rate=0.01, labelled=False)[1].calibrated_with
    assert told
    forecast = told[-1]
    _, then = found(rng.normal(1.0, 0.15, 30 + forecast.images), rate=0.01, labelled=False)
    assert (forecast.lowest_rate, forecast.highest_rate) == pytest.approx(
        (then.lowest_rate, then.highest_rate), abs=2e-3
    )


def test_known_defects_raise_it_and_never_lower_a_distribution_free_one() -> None:
    scores = np.random.default_rng(3).normal(1.0, 0.2, 9)
    plain = found(scores, rate=0.1)[0]
    raised, promise = found(scores, np.array([plain.reject + 1.0]), rate=0.1)
    assert raised.reject == pytest.approx(plain.reject + 0.5)
    assert (promise.known_defects, promise.known_defects_passed) == (1, 0)
    low, promise = found(scores, np.array([0.0]), rate=0.1)
    assert low.reject == plain.reject
    assert promise.known_defects_passed == 1


def test_p_values_end_at_what_so_many_scores_can_tell() -> None:
    scores = np.random.default_rng(4).normal(1.0, 0.2, 99)
    threshold = found(scores, rate=0.01)[0]
    assert threshold.p_value(99.0) == pytest.approx(0.01)
    assert threshold.p_value(float(np.sort(scores)[-10])) == pytest.approx(0.11)


@pytest.mark.parametrize("equal", [1, 15, 60])
def test_equal_scores_have_the_p_value_that_counts_all_of_them(equal: int) -> None:
    """One of 15 equal ones had that of the highest, 0.01."""
    scores = np.append(np.linspace(0.0, 1.0, 99 - equal), np.full(equal, 2.0))
    threshold = found(scores, rate=0.05)[0]
    assert threshold.p_value(2.0) == pytest.approx((equal + 1) / 100)
    assert threshold.p_value(2.001) == pytest.approx(0.01)
    assert threshold.expected_false_reject_rate == 0.05


@pytest.mark.parametrize(("labelled", "n", "kind"), [(True, 3, "4 good"), (False, 11, "12 unlabelled")])
def test_too_few_images_are_refused(labelled: bool, n: int, kind: str) -> None:
    with pytest.raises(LineError, match=f"at least {kind} images that the line was not adapted from, got {n} that"):
        found(np.ones(n), labelled=labelled)


def ever_missed(count: int, among: int, *, above: bool) -> float:
    """The chance that a bound on one side is wrong after any number of things seen, by all ways they can come."""
    missed, chances = 0.0, {0: 1.0}
    for n in range(among + 1):
        wrong = {found for found in chances if misses(counted_among(found, n, among), count, above=above)}
        missed += sum(chances[found] for found in wrong)
        after: dict[int, float] = {}
        for found, chance in chances.items():
            share = (count - found) / max(1, among - n)
            if found not in wrong:
                after[found + 1] = after.get(found + 1, 0.0) + chance * share
                after[found] = after.get(found, 0.0) + chance * (1 - share)
        chances = {found: chance for found, chance in after.items() if chance > 0}
    return missed


def misses(bounds: tuple[int, int], count: int, *, above: bool) -> bool:
    return bounds[1] < count if above else bounds[0] > count


@pytest.mark.parametrize("among", [0, 1, 7, 20, 31, 60])
def test_who_counts_on_until_a_bound_is_wrong_succeeds_in_one_order_of_twenty_at_most(among: int) -> None:
    chances = [ever_missed(count, among, above=above) for count in range(among + 1) for above in (False, True)]
    assert max(chances) <= 0.05 + 1e-9
    if among == 60:
        assert max(chances) > 0.03, "and not far fewer"


@pytest.mark.parametrize("among", [1, 20, 300])
def test_bounds_on_a_few_close_on_the_count_and_rise_with_what_is_found(among: int) -> None:
    assert counted_among(0, 0, among) == (0, among)
    for n in (among // 3, among // 2, among):
        bounds = [counted_among(found, n, among) for found in range(n + 1)]
        assert all(low <= found + among - n and found <= high for found, (low, high) in enumerate(bounds))
        assert bounds == sorted(bounds)
        assert [high for _, high in bounds] == sorted(high for _, high in bounds)
    assert bounds == [(found, found) for found in range(among + 1)]


def test_bounds_on_a_few_of_very_many_are_wider_than_those_of_one_look() -> None:
    assert counted_among(14, 14, 31) == (26, 31)
    lowest, highest = counted_among(5, 10, 100_000)
    once = counted_interval(5, 10)
    assert 0.5 * once[0] < lowest / 100_000 < once[0]
    assert 1 - 0.5 * (1 - once[1]) > highest / 100_000 > once[1]


def test_the_counted_interval_is_clopper_and_pearsons() -> None:
    assert counted_interval(0, 99) == (0.0, pytest.approx(1 - 0.05 ** (1 / 99)))
    assert counted_interval(5, 5)[1] == 1.0
    assert counted_interval(10, 100) == pytest.approx((0.0553, 0.1637), abs=1e-3)
