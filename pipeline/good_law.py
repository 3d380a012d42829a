"""How the scores of a line's new good parts are taken to lie: the laws that thresholds and p-values come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.score_spread import PRIOR_COUNT, bulk, centre
from pipeline.score_tail import TAIL_RATES, ScoreTail, counted_tail, tail_of


@dataclass(frozen=True, kw_only=True)
class GoodLaw:
    """A law of good parts' scores.

    Args:
        middle: of the scores it rests on.
        score_at: the score that such a share of good parts, 0..1, reaches or passes, at most.
        share_at: the share that what it rests on shows at that score: at most what was asked for.
        smallest: the smallest share that it tells.
        method: how it was found, in a few words.
        sample_count: how many scores it rests on.
        share_from: the share that scores at least so high, where scores are counted; None: they are not.
    """

    middle: float
    score_at: Callable[[float], float]
    share_at: Callable[[float], float]
    smallest: float
    method: str
    sample_count: int
    share_from: Callable[[float], float] | None = None

    def tail(self, rate: float) -> ScoreTail:
        """Its table for the plant, with the rate that a threshold is set for among the others."""
        if self.share_from is None:
            return tail_of(self.score_at, rate, self.smallest)
        return counted_tail(self.score_at, self.share_from, rate, self.smallest)


def prediction_law(scores: NDArray[np.float64], *, strays: float, method: str) -> GoodLaw:
    """One-sided Student-t prediction intervals around the bulk of (K,) scores: one new good image against K.

    Args:
        scores: of good images.
        strays: how many times further than they show new ones lie, see `score_spread.straying`.
        method: what to call it.
    """
    return prediction_law_at(*bulk(scores), len(scores), strays=strays, method=method)


def prediction_law_at(middle: float, spread: float, n: int, *, strays: float, method: str) -> GoodLaw:
    """The same of n scores whose bulk has that centre and spread."""
    return GoodLaw(
        middle=middle,
        score_at=lambda rate: middle + strays * _prediction_quantile(rate, n) * spread,
        share_at=lambda rate: rate,
        smallest=TAIL_RATES[-1],
        method=method,
        sample_count=n,
    )


def pooled_law(
    scores: NDArray[np.float64], deviations: NDArray[np.float64], weights: NDArray[np.float64], prior: float
) -> GoodLaw:
    """Where source lines' good images lay beside their supports' scores, around those of this support.

    Args:
        scores: (K,) of the good support images, each against the others.
        deviations: (N,) of the source lines, ascending, in spreads.
        weights: (N,) theirs, 1 in sum.
        prior: the source lines' typical spread.
    """
    middle, spread = centre(scores, prior)

    def quantile(rate: float) -> float:
        return weighted_quantile(deviations, weights, rate)

    return GoodLaw(
        middle=middle,
        score_at=lambda rate: middle + quantile(rate) * spread,
        share_at=lambda rate: float(weights[deviations >= quantile(rate)].sum()),
        smallest=float(weights[-1]),
        method="pooled leave-one-out",
        sample_count=len(scores) + len(deviations),
    )


def conformal_law(scores: NDArray[np.float64], *, method: str) -> GoodLaw:
    """Split conformal prediction (Vovk et al. 2005): no rate below 1 / (K + 1) is told by (K,) scores.

    Whatever their law, a further one that is drawn as they were passes the k-th highest of them with a probability of
    k / (K + 1) at most.

    Args:
        scores: of good images that the head does not know.
        method: what to call it.
    """
    ascending, n = np.sort(scores), len(scores)

    def count(rate: float) -> int:
        return max(1, min(n, int((n + 1) * rate + 1e-9)))

    return GoodLaw(
        middle=float(np.median(scores)),
        score_at=lambda rate: float(np.nextafter(ascending[n - count(rate)], np.inf)),
        share_at=lambda rate: count(rate) / (n + 1),
        smallest=1 / (n + 1),
        method=method,
        sample_count=n,
        share_from=lambda score: int(1 + (scores >= score).sum()) / (n + 1),
    )


def weighted_quantile(ascending: NDArray[np.float64], weights: NDArray[np.float64], rate: float) -> float:
    """The smallest deviation that at most `rate` of the weight lies at or above.

    Just past the largest when even that is too much: "fewer than we have seen" is not promised by what was seen.
    """
    above = np.cumsum(weights[::-1])[::-1]
    allowed = np.flatnonzero(above <= rate + 1e-12)
    return float(ascending[allowed[0]] if len(allowed) else np.nextafter(ascending[-1], np.inf))


def _prediction_quantile(rate: float, n: int) -> float:
    """t_{1-rate} * sqrt(1 + 1/n): one new good image against n old ones. The prior adds its degrees of freedom."""
    from scipy.special import stdtrit  # noqa: PLC0415 (scoring at the plant does not need scipy)

    freedom = n - 1 + PRIOR_COUNT
    return float(stdtrit(freedom, 1 - rate)) * float(np.sqrt(1 + 1 / n))
