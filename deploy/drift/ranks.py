"""A sequential test of a few numbers an image: does the stream go on as it did? It needs no law of the numbers.

A number's place among those before it (its conformal p-value, ties broken at random) is uniform and independent of all
places before, as long as the stream's order says nothing, and whatever the numbers' law is. Against that a few bets are
held, each a density of p: that numbers have risen, or fallen, by much or by little. Of each the Shiryaev-Roberts sum is
kept, R <- (1 + R) * density(p). R less the count of images is a martingale, so that a threshold of A gives at most one
alarm in A images on average: a bound, not an approximation (Vovk 2021, "Testing randomness online"; Shin, Ramdas &
Rinaldo 2023, "E-detectors"). It holds for the mean of the bets, too, and adds up over the numbers of an image.

What is compared with is at most `MEMORY` numbers: of one more, one at a random place in their order is forgotten. That
keeps the places uniform and independent, which forgetting the oldest would not: what is left is a random sample of
what was there. NumPy only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MEMORY = 1000
"""A number is remembered for as many images, on average: what creeps more slowly is not noticed."""
FIRST = 50
"""Images to compare with before a bet is held: the places among fewer are coarse."""

_POWERS = np.array([0.1, 0.3, 0.6])  # of p: a bet on large changes to one on small ones
_EXPONENTS = _POWERS - 1
BETS = 2 * len(_POWERS)


class Change(NamedTuple):
    """An alarm. `test`: of which number. `since`: the key of the first changed image, most likely. `rose`: upwards."""

    test: int
    since: int
    rose: bool


class RankTests:
    """The tests of a few numbers an image, each by itself; see the module.

    Args:
        count: of the numbers.

    Attributes:
        known: of each number those that are remembered, sorted.
        sums: (count, BETS) Shiryaev-Roberts sums: of bets that numbers rose, by much to little, then that they fell.
        gains: (count, BETS) what a bet has won since it last had lost everything: when a change began.
        since: (count, BETS) the key of the first image thereafter.
    """

    def __init__(self, count: int) -> None:
        self.known: list[list[float]] = [[] for _ in range(count)]
        self.sums = np.zeros((count, BETS))
        self.gains = np.ones((count, BETS))
        self.since = np.zeros((count, BETS), np.int64)

    def take(
        self, values: Sequence[float], key: int, *, threshold: float, ties: Sequence[float], forget: float
    ) -> list[Change]:
        """The changes that an image gives an alarm of; those tests begin anew, with the image that follows.

        Args:
            values: its numbers; NaN: it has none, and the test does not go on.
            key: names the image; a later one's is larger.
            threshold: images for one alarm of a test, on average, at least.
            ties: random numbers, uniform between 0 and 1, one a test.
            forget: one more.
        """
        places = np.full(len(values), np.nan)
        for test, (known, value) in enumerate(zip(self.known, values, strict=True)):
            if value != value:  # noqa: PLR0124 - NaN
                continue
            if len(known) >= FIRST:
                low, high = bisect_left(known, value), bisect_right(known, value)
                places[test] = (len(known) - high + ties[test] * (high - low + 1)) / (len(known) + 1)
            insort(known, value)
            if len(known) > MEMORY:
                del known[int(forget * len(known))]
        self._bet(places, key)
        return self._alarms(threshold)

    def _bet(self, places: NDArray[np.float64], key: int) -> None:
        held = np.flatnonzero(places == places)  # noqa: PLR0124 - not NaN
        if not len(held):
            return
        p = places[held, None].clip(1e-9, 1 - 1e-9)
        densities = np.concatenate([_POWERS * p**_EXPONENTS, _POWERS * (1 - p) ** _EXPONENTS], 1)
        gains, since = self.gains[held], self.since[held]
        lost = gains <= 1
        since[lost] = key
        self.since[held] = since
        self.gains[held] = np.maximum(gains, 1) * densities
        self.sums[held] = (1 + self.sums[held]) * densities

    def _alarms(self, threshold: float) -> list[Change]:
        found: list[Change] = []
        for test in np.flatnonzero(self.sums.mean(1) >= threshold).tolist():
            best = int(self.gains[test].argmax())
            found.append(Change(test, int(self.since[test, best]), rose=best < len(_POWERS)))
            self.begin_anew([test])
        return found

    def begin_anew(self, tests: Iterable[int]) -> None:
        """Forget all that these tests know."""
        for test in tests:
            self.known[test] = []
            self.sums[test], self.gains[test], self.since[test] = 0, 1, 0
