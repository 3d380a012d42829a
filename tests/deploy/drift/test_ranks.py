"""The sequential test gives no more false alarms than it states, whatever the numbers' law, and notices changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.drift.ranks import FIRST, MEMORY, Change, RankTests

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

LAWS: dict[str, Draw] = {
    "normal": lambda rng, count: rng.normal(size=count),
    "heavy tails": lambda rng, count: rng.standard_cauchy(count),
    "few values": lambda rng, count: rng.integers(0, 3, count).astype(float),
    "one value": lambda rng, count: np.full(count, 7.0),
}


def watch(numbers: NDArray[np.float64], threshold: float, seed: int) -> list[tuple[int, Change]]:
    """Alarms on numbers (N, tests), each with the place of the image that gave it."""
    tests, rng = RankTests(numbers.shape[1]), np.random.default_rng(seed)
    found = []
    for key, values in enumerate(numbers.tolist()):
        ties, forget = rng.random(len(values)).tolist(), float(rng.random())
        found += [(key, change) for change in tests.take(values, key, threshold=threshold, ties=ties, forget=forget)]
    return found


def test_false_alarms_are_at_most_as_many_as_stated() -> None:
    """Over 12,000 images and four laws; every law twice, upside down, as numbers of one image may well depend."""
    rng, count, threshold = np.random.default_rng(1), 12_000, 400.0
    columns = [draw(rng, count) for draw in LAWS.values()]
    numbers = np.stack([*columns, *(-column for column in columns)], 1)
    alarms = watch(numbers, threshold, seed=2)
    assert 0 < len(alarms) <= numbers.size / threshold
    by_test = np.bincount([change.test for _, change in alarms], minlength=numbers.shape[1])
    assert by_test.max() <= count / threshold


@pytest.mark.parametrize("law", ["normal", "heavy tails"])
@pytest.mark.parametrize("way", [-1, 1])
def test_a_change_is_noticed_and_dated(law: str, way: int) -> None:
    rng = np.random.default_rng(3)
    numbers = LAWS[law](rng, 500)
    numbers[400:] += way * 50 * np.median(np.abs(numbers))
    at, change = watch(numbers[:, None], 1e6, seed=4)[0]
    assert 400 < at < 420
    assert change.rose == (way > 0)
    assert abs(change.since - 400) <= 10


def test_a_small_change_takes_longer() -> None:
    numbers = np.random.default_rng(5).normal(size=(1500, 1))
    numbers[1000:] += 1
    at, change = watch(numbers, 1e6, seed=6)[0]
    assert 1010 < at < 1100
    assert change.rose


def test_after_an_alarm_the_new_is_what_it_compares_with() -> None:
    numbers = np.random.default_rng(7).normal(size=(900, 1))
    numbers[300:600] += 20
    alarms = watch(numbers, 1e5, seed=8)
    assert [change.rose for _, change in alarms] == [True, False]
    assert abs(alarms[1][1].since - 600) <= 10


def test_an_image_without_a_number_changes_nothing() -> None:
    numbers = np.random.default_rng(9).normal(size=(300, 1))
    with_gaps = np.insert(numbers, np.arange(0, 300, 3), np.nan, axis=0)
    tests = RankTests(1)
    for key, values in enumerate(with_gaps.tolist()):
        assert tests.take(values, key, threshold=1e9, ties=[0.5], forget=0.5) == []
    assert len(tests.known[0]) == 300
    assert np.isfinite(tests.sums).all()


def test_memory_is_bounded() -> None:
    tests, rng = RankTests(1), np.random.default_rng(10)
    for key in range(MEMORY + FIRST):
        tests.take([float(rng.normal())], key, threshold=1e9, ties=[float(rng.random())], forget=float(rng.random()))
    assert len(tests.known[0]) == MEMORY
    assert tests.known[0] == sorted(tests.known[0])
