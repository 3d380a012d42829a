"""Whether a figure stays flat: a straight line through it, with the interval of its slope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Trend(NamedTuple):
    """A least-squares line: the figure's mean, and its slope an hour with the ends of a 95 % interval.

    The interval is Student's, as if the residuals were independent: of means over windows they nearly are.
    """

    mean: float
    slope: float
    low: float
    high: float

    def grows_beyond(self, bound: float) -> bool:
        """Whether the whole interval lies above a bound: growth that the noise does not explain."""
        return self.low > bound


def trend_of(hours: Sequence[float], figures: Sequence[float]) -> Trend:
    """The trend of figures over the times in hours at which they were taken.

    Raises:
        ValueError: there are fewer than three, or all of one time.
    """
    if len(hours) < 3 or len(set(hours)) < 2:
        raise ValueError(f"expected three figures or more over some time, got {len(hours)}")
    fit = stats.linregress(hours, figures)
    half = float(stats.t.ppf(0.975, len(hours) - 2)) * float(fit.stderr)
    slope = float(fit.slope)
    return Trend(float(np.mean(figures)), slope, slope - half, slope + half)
