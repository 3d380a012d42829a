"""Whether a figure stays flat: a straight line through it, with the interval of its slope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Figures = Sequence[float] | NDArray[np.float64]


class Bound(NamedTuple):
    """The most that a figure may grow: an hour, and at all while it is looked at, which counts in short looks."""

    an_hour: float
    at_all: float


class Trend(NamedTuple):
    """A least-squares line: the figure's mean, its slope an hour with the ends of a 95 % interval, and the hours.

    The interval is Student's, as if the residuals were independent: of windows' figures they nearly are.
    """

    mean: float
    slope: float
    low: float
    high: float
    hours: float

    def grows_beyond(self, bound: Bound) -> bool:
        """Whether the whole interval lies above a bound: growth that the noise does not explain."""
        return self.low > bound.an_hour and self.low * self.hours > bound.at_all


def trend_of(hours: Figures, figures: Figures) -> Trend:
    """The trend of figures (N,) over the times (N,) in hours at which they were taken.

    Raises:
        ValueError: there are fewer than three.
    """
    times = np.asarray(hours, np.float64)
    if len(times) < 3:
        raise ValueError(f"expected three figures or more, got {len(times)}")
    fit: Any = stats.linregress(times, np.asarray(figures, np.float64))
    error = np.nan_to_num(float(fit.stderr))  # of figures that are all the same scipy says nan
    half, slope = float(stats.t.ppf(0.975, len(times) - 2) * error), float(fit.slope)
    return Trend(float(np.mean(figures)), slope, slope - half, slope + half, float(np.ptp(times)))
