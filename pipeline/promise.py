"""What a threshold may be trusted with: the interval of its false-reject rate, and which known defects would pass.

The rate of new good parts at the threshold is not known, as their distribution is not: so many leave-one-out scores
show only so much of it. The interval is that of the normal model with the spread's prior, as the threshold's own
(Gelman et al., Bayesian Data Analysis, 3rd ed., section 3.3), and of good parts that stray as other lines' do
(`score_spread.straying`): each by itself up to so far, and all of them together, higher or lower, by as much times a
deviate of Student's t: most shifts are like the images at hand, some are far from them. On thirteen real lines 92 % of
the rates lie in it, 87 % where unlabelled images set the limit (`benchmarks/promises.md`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Threshold
from pipeline.score_spread import PRIOR_COUNT, bulk, straying

_POINTS = 13  # 8,192, as a power of two
_SHIFT_FREEDOM = 2  # degrees of freedom of how far all parts of a shift stray together
_ALONE_STRAYS = 1.5
"""As `score_spread.straying`, of a single good image beside defects: the only head that can score it knows it, and how
much higher new ones score is another thing on every line (84 % of the rates lay in the interval without, 92 with)."""
COVERAGE = 0.9
"""The share of lines whose rate is to lie in the interval."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The interval of the false-reject rate, 0..1, with so many more images, see `pipeline.more_images`."""

    images: int
    lowest_rate: float
    highest_rate: float


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What is promised of a threshold.

    Args:
        lowest_rate: of good parts rejected, 0..1: nine of ten lines' rates lie from here ...
        highest_rate: ... to here.
        known_defects: how many known defects were scored by heads that do not know them.
        known_defects_passed: how many of them score below the threshold: to expect of others like them.
        adapted_with_more: what more good images to adapt from would make of the interval, where they narrow it; None:
            nobody can tell, as the threshold rests on other lines, or is no adaptation's.
        calibrated_with: what images that the head does not know would make of it, likewise; None: nobody computed it.
    """

    lowest_rate: float
    highest_rate: float
    known_defects: int = 0
    known_defects_passed: int = 0
    adapted_with_more: tuple[Forecast, ...] | None = None
    calibrated_with: tuple[Forecast, ...] | None = None

    @property
    def share_passed(self) -> float:
        """The share of the known defects that would pass, 0..1; nan where there are none."""
        return self.known_defects_passed / self.known_defects if self.known_defects else math.nan


def promise_of(
    threshold: Threshold, leave_one_out: NDArray[np.float64], known_defects: NDArray[np.float64] | None
) -> Promise:
    """What a threshold that was calibrated by these scores promises.

    Args:
        threshold: of the head.
        leave_one_out: (K,) image scores of the good images, each against the others.
        known_defects: (M,) those of known defects, each by a head that does not know it; None: not known.
    """
    n, known = len(leave_one_out), np.empty(0) if known_defects is None else known_defects
    middle, spread = bulk(leave_one_out)
    strays = _ALONE_STRAYS if n == 1 and len(known) else straying(n, len(known))
    interval = rate_interval(threshold.reject, middle, spread, n, strays=strays)
    return promise_at(threshold, interval, known)


def promise_at(threshold: Threshold, interval: tuple[float, float], known_defects: NDArray[np.float64]) -> Promise:
    """What a threshold promises whose rate lies in an interval.

    Args:
        threshold: of the head.
        interval: of its false-reject rate, 0..1.
        known_defects: (M,) scores of defects, each by a head that does not know it.
    """
    return Promise(
        lowest_rate=interval[0],
        highest_rate=interval[1],
        known_defects=len(known_defects),
        known_defects_passed=int((known_defects < threshold.reject).sum()),
    )


def rate_interval(reject: float, middle: float, spread: float, n: int, *, strays: float) -> tuple[float, float]:
    """The interval of the false-reject rate at a limit, by the normal model.

    Args:
        reject: the limit.
        middle: of the good parts' scores.
        spread: theirs, shrunk as `score_spread.bulk` does.
        n: how many scores both rest on.
        strays: how many times further new good parts lie, at most; 1: they are drawn as those were.
    """
    from scipy.special import gammaincinv, ndtr, ndtri, stdtrit  # noqa: PLC0415 (scoring at the plant does not need it)

    freedom = n - 1 + PRIOR_COUNT
    of_spread, of_mean, of_shift, of_width = _points()
    spreads = spread * np.sqrt(freedom / (2 * gammaincinv(freedom / 2, of_spread)))  # over the root of a chi-square
    means = middle + spreads / np.sqrt(n) * ndtri(of_mean)
    means += (strays - 1.0) * spreads * stdtrit(_SHIFT_FREEDOM, of_shift)
    rates = 1.0 - ndtr((reject - means) / (spreads * (1.0 + (strays - 1.0) * of_width)))
    lowest, highest = np.quantile(rates, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(lowest), float(highest)


@cache
def _points() -> tuple[NDArray[np.float64], ...]:
    """Points that fill the unit cube evenly, a row for each of the four quantities that are not known.

    Points at random give the upper end of an interval by a tenth of it more or less: few of them lie far out.
    """
    from scipy.stats import qmc  # noqa: PLC0415 (as above)

    return tuple(qmc.Sobol(4, rng=0).random_base2(_POINTS).T)


def counted_interval(rejected: int, n: int) -> tuple[float, float]:
    """The interval of a rate of which so many cases were seen among n, whatever the law (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv  # noqa: PLC0415 (scoring at the plant does not need scipy)

    tail = (1 - COVERAGE) / 2
    lowest = float(betaincinv(rejected, n - rejected + 1, tail)) if rejected else 0.0
    highest = float(betaincinv(rejected + 1, n - rejected, 1 - tail)) if rejected < n else 1.0
    return lowest, highest


def counted_among(found: int, n: int, among: int) -> tuple[int, int]:
    """How many of a finite number of things are of a kind, of which so many were found among the first n of them.

    They come in an order that has nothing to do with their kind, and each bound holds for every n at once, but for one
    order in twenty: who looks again after each of them, until a bound says what was hoped for, is misled no more often.
    With all of them seen it is the count itself.

    A count is out of question once it, and every one beyond it on that side, explains what was seen a twentieth as well
    as the others do on average: a test martingale (Ville 1939; Waudby-Smith and Ramdas, Confidence sequences for
    sampling without replacement, 2020).

    Args:
        found: of the kind, 0..n.
        n: seen.
        among: all, at least n.
    """
    return _least_among(found, n, among), among - _least_among(n - found, n, among)


@lru_cache(maxsize=10_000)  # who reckons how many more answers decide asks the same again and again
def _least_among(found: int, n: int, among: int) -> int:
    from scipy.special import gammaln  # noqa: PLC0415 (as above)

    counts = np.arange(found, among - n + found + 1)  # the others are impossible
    logarithms = gammaln(counts + 1) - gammaln(counts - found + 1)
    logarithms += gammaln(among - counts + 1) - gammaln(among - counts - n + found + 1)
    likelihoods = np.exp(logarithms - logarithms.max())
    best_so_far = np.maximum.accumulate(likelihoods)
    of_larger = np.append(np.cumsum(likelihoods[:0:-1])[::-1], 0.0) / np.maximum(1, among - counts)
    return int(counts[np.argmin(of_larger * (1 - COVERAGE) / 2 >= best_so_far)])
