"""A threshold for a share of missed defects."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.calibration import Threshold, calibrate
from pipeline.errors import ConfigError
from pipeline.missed_defects import missed_limit, require_defects

GOOD = np.random.default_rng(0).normal(0.0, 0.2, 12)


def found(known: np.ndarray, missed: float) -> Threshold:
    maps = np.zeros((len(GOOD), 2, 2), np.float32)
    return calibrate(GOOD, maps, target_false_reject_rate=0.01, pooled=None, known_defects=known, missed_defects=missed)


@pytest.mark.parametrize(("missed", "count"), [(0.1, 9), (0.1, 40), (0.2, 4), (0.5, 1), (0.25, 7)])
def test_no_larger_share_is_missed_whatever_the_law(missed: float, count: int) -> None:
    rng, shares = np.random.default_rng(count), []
    for _ in range(1500):
        known, later = (np.exp(1.5 * rng.standard_normal(n)) for n in (count, 400))
        shares.append(float((later < missed_limit(known, missed)).mean()))
    kept = int((count + 1) * missed + 1e-9) / (count + 1)
    assert kept <= missed
    assert np.mean(shares) == pytest.approx(kept, abs=0.02)


def test_it_says_what_it_costs_in_good_parts() -> None:
    known = np.linspace(0.3, 3.0, 9)
    threshold = found(known, 0.1)
    assert threshold.reject == 0.3, "all but one of ten"
    assert threshold.target_missed_defect_rate == 0.1
    assert threshold.expected_false_reject_rate == threshold.p_value(0.3)
    assert threshold.review <= threshold.reject
    dearer = found(known - 0.2, 0.1)
    assert dearer.expected_false_reject_rate > threshold.expected_false_reject_rate


@pytest.mark.parametrize(
    ("missed", "count", "sentence"),
    [
        (0.1, 8, r"at least 9 known defects to promise that at most 0\.1 of such are missed, got 8, .* 0\.11 at best"),
        (0.05, 4, r"at least 19 known defects .*, got 4, which can promise 0\.2 at best: add defects"),
        (0.1, 0, r"at least 9 known defects .*, got none"),
    ],
)
def test_fewer_defects_than_the_share_asks_for_are_refused(missed: float, count: int, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        require_defects(missed, count)
    with pytest.raises(ConfigError, match=sentence):
        found(np.ones(count), missed)
