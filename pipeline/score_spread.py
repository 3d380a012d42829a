"""Where a line's leave-one-out scores lie, how far they spread, and how much further new good parts stray."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

PRIOR_COUNT = 4
_FEW, _STRAY = 4, 0.8  # images from which on good parts stray further than their spread says, and how much at most
_STRAY_WITH_DEFECTS, _HALFWAY_DEFECTS = 0.6, 1.5  # how much more with many known defects; so many give half of it
MANY = 12
"""Scores from which on the bulk is read off quantiles."""
_BULK = (0.1, 0.5, 0.8)  # those quantiles
DEFAULT_SPREAD = 0.15  # in log distance: an assumption, used only where no source line has shown its own


def centre(scores: NDArray[np.float64], prior: float) -> tuple[float, float]:
    """Mean and shrunk standard deviation of one support's LOO scores."""
    n = len(scores)
    variance = float(np.var(scores, ddof=1)) if n > 1 else 0.0
    weight = n - 1
    return float(np.mean(scores)), float(np.sqrt((weight * variance + PRIOR_COUNT * prior**2) / (weight + PRIOR_COUNT)))


def bulk(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Centre and spread of the bulk of a line's leave-one-out scores, the spread shrunk as in `centre`.

    Of twelve and more they are read off the 10th, 50th and 80th percentile as a normal law has them: unlabelled images
    may hold a defect that nobody saw, and labelled ones a good part that stands far from all others; neither may
    widen the promise for all the rest.
    """
    n = len(scores)
    if n < MANY:
        return centre(scores, DEFAULT_SPREAD)
    middle, width = normal_through(scores, _BULK)
    shrunk = ((n - 1) * width**2 + PRIOR_COUNT * DEFAULT_SPREAD**2) / (n - 1 + PRIOR_COUNT)
    return middle, float(np.sqrt(shrunk))


def normal_through(scores: NDArray[np.float64], shares: tuple[float, float, float]) -> tuple[float, float]:
    """Mean and standard deviation of the normal law whose quantiles at three shares, ascending, are the scores'.

    The outer two give the deviation, the middle one the mean; scores beyond them do not count.
    """
    low, middle, high = np.quantile(scores, shares)
    of_normal = [NormalDist().inv_cdf(share) for share in shares]
    deviation = float(high - low) / (of_normal[2] - of_normal[0])
    return float(middle) - of_normal[1] * deviation, deviation


def straying(n: int, defects: int) -> float:
    """How many times further than by the spread of n leave-one-out scores new good images stray.

    Each of four images is scored by a head of three, which has seen a quarter less: its score is higher than a new
    image's, and that makes up for how far the next shift's parts differ from those at hand. Of thirty images it makes
    up for nothing; and a direction that known defects gave leads some new good parts astray, too. On thirteen real
    lines, whose test images were taken apart from the others, the factor that rejected about what was asked for is 1
    with 4 images, and with 30 it is 1.7 without defects and 2.1 with four (`benchmarks/take_up.md`).
    """
    most = _STRAY + _STRAY_WITH_DEFECTS * defects / (defects + _HALFWAY_DEFECTS)
    return 1.0 + most * max(0.0, 1.0 - _FEW / n)
