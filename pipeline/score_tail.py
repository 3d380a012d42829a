"""A line's p-values: which share of its good parts scores at least so high, as a table that the plant reads."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

_HALVES = (0.999, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
TAIL_RATES = (*_HALVES, *(digit * 10.0**-power for power in range(1, 6) for digit in (1.0, 0.5, 0.2)), 1e-6)
"""The rates that a table tells, as far as what the threshold rests on can: descending, 0..1."""


@dataclass(frozen=True, kw_only=True)
class ScoreTail:
    """Scores that shares of a line's good parts reach, by the law that its threshold is set by.

    Scores of two lines mean nothing beside each other; their p-values do: both are shares of good parts.

    Args:
        rates: (R,) shares of good parts, descending, 0..1.
        scores: (R,) what so large a share of them scores at least, ascending.
    """

    rates: tuple[float, ...]
    scores: tuple[float, ...]

    @property
    def smallest(self) -> float:
        """The smallest p-value that can be told: it means "so rare or rarer"."""
        return self.rates[-1]

    def p_value(self, score: float) -> float:
        """The share of good parts that score at least so high, 0..1; between two rates in proportion to its logarithm.

        Args:
            score: of an image, finite.
        """
        if score <= self.scores[0]:
            return self.rates[0]
        if score >= self.scores[-1]:
            return self.rates[-1]
        above = bisect_right(self.scores, score)
        low, high = self.scores[above - 1], self.scores[above]
        share = (score - low) / (high - low)
        return math.exp((1 - share) * math.log(self.rates[above - 1]) + share * math.log(self.rates[above]))


def tail_of(score_at: Callable[[float], float], rate: float, smallest: float) -> ScoreTail:
    """The table of a law.

    Args:
        score_at: the score that such a share of good parts reaches; never falls where the share does.
        rate: the share that the threshold was set for: it is among the rates, so that the two agree to the last digit.
        smallest: the smallest share that the law tells.
    """
    rates = sorted({*TAIL_RATES, rate, smallest}, reverse=True)
    by_score = {score_at(told): told for told in rates if told >= smallest}  # of equal scores the smallest rate stays
    return ScoreTail(rates=tuple(by_score.values()), scores=tuple(by_score))


def counted_tail(
    score_at: Callable[[float], float], share_from: Callable[[float], float], rate: float, smallest: float
) -> ScoreTail:
    """The table of a law that counts scores: at each score that it tells, of which there may be many, and just past it.

    Args:
        score_at: the score just past those of the good parts that so large a share lets through.
        share_from: the share that scores at least so high, as it is counted.
        rate: as in `tail_of`.
        smallest: as in `tail_of`.
    """
    past = tail_of(score_at, rate, smallest).scores
    scores = sorted({*past, *(math.nextafter(score, -math.inf) for score in past)})
    return ScoreTail(rates=tuple(map(share_from, scores)), scores=tuple(scores))
