"""What a threshold may be trusted with: the interval of its false-reject rate, and which known defects would pass.

The rate of new good parts at the threshold is not known, as their distribution is not: so many leave-one-out scores
show only so much of it. The interval is that of the normal model with the spread's prior, as the threshold's own
(Gelman et al., Bayesian Data Analysis, 3rd ed., section 3.3), and of good parts that stray as other lines' do
(`score_spread.straying`): each by itself up to so far, and all of them together, higher or lower, by a normal deviate
of as much. On thirteen real lines 92, 85, 92 and 92 % of the rates lie in it (4 good images; no defects or four;
without unlabelled images and with thirty; 26 and 39 draws; `benchmarks/take_up.md`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Threshold
from pipeline.score_spread import PRIOR_COUNT, bulk, straying

_DRAWS = 4000
COVERAGE = 0.9
"""The share of lines whose rate is to lie in the interval."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What is promised of a threshold.

    Args:
        lowest_rate: of good parts rejected, 0..1: nine of ten lines' rates lie from here ...
        highest_rate: ... to here.
        known_defects: how many known defects were scored by heads that do not know them.
        known_defects_passed: how many of them score below the threshold: to expect of others like them.
    """

    lowest_rate: float
    highest_rate: float
    known_defects: int = 0
    known_defects_passed: int = 0

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
    from scipy.special import ndtr  # noqa: PLC0415 (scoring at the plant does not need scipy)

    n, known = len(leave_one_out), np.empty(0) if known_defects is None else known_defects
    mean, spread = bulk(leave_one_out)
    rng, freedom = np.random.default_rng(0), n - 1 + PRIOR_COUNT
    spreads = spread * np.sqrt(freedom / rng.chisquare(freedom, _DRAWS))
    means = mean + spreads / np.sqrt(n) * rng.standard_normal(_DRAWS)
    strays = straying(n, len(known))
    means += (strays - 1.0) * spreads * rng.standard_normal(_DRAWS)
    widths = spreads * rng.uniform(1.0, strays, _DRAWS)
    rates = 1.0 - ndtr((threshold.reject - means) / widths)
    lowest, highest = np.quantile(rates, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Promise(
        lowest_rate=float(lowest),
        highest_rate=float(highest),
        known_defects=len(known),
        known_defects_passed=int((known < threshold.reject).sum()),
    )
