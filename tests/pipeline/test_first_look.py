"""Whether a support vouches for a first look, and what that settles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.first_look import FirstLook, first_look_of

GOOD = np.array([0.9, 1.0, 1.0, 1.1])


def look(*known: float, flagged: float = 0.0) -> FirstLook | None:
    second = 3 + 2 * GOOD
    return first_look_of(GOOD, np.array(known), second, distance=0.5, review=5.6, flagged=flagged)


def test_doubt_begins_below_the_weakest_known_defect_and_where_few_good_parts_score() -> None:
    far, near = look(3.0, 4.0, 5.0), look(1.35, 4.0, 5.0)
    assert far is not None
    assert near is not None
    assert 1.1 < near.limit < far.limit < 1.5
    assert near.limit < 1.35
    assert near.doubted > far.doubted == pytest.approx(0.05, abs=0.02)
    assert look(1.05, 4.0, 5.0) is None  # it would leave most good parts in doubt


def test_so_many_good_parts_are_looked_at_twice_as_the_thresholds_flag() -> None:
    strict = look(3.0, flagged=0.15)
    assert strict is not None
    assert strict.doubted == pytest.approx(0.15, abs=0.02)
    assert look(3.0, flagged=0.5) is None


def test_what_is_settled_has_a_score_on_the_second_scale_below_its_thresholds() -> None:
    found = look(3.0, 4.0)
    assert found is not None
    scores = np.linspace(0.5, found.limit, 50)
    given = [found.as_second(score) for score in scores]
    assert given == sorted(given)
    assert max(given) < 5.6
    assert found.as_second(1.0) == pytest.approx(5.0)
    settled = [found.settles(score, 0.5) for score in (1.0, found.limit, math.nan, -math.inf, math.inf)]
    assert settled == [True, False, False, False, False]
    assert [found.settles(1.0, distance) for distance in (None, 0.6, math.nan)] == [True, False, False]
