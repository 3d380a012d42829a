"""Whether a figure stays flat: a straight line through it, with the interval of its slope."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
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


def trend_of(hours: ArrayLike, figures: ArrayLike) -> Trend:
    """The trend of figures (N,) over the times (N,) in hours at which they were taken.

    Raises:
        ValueError: there are fewer than three.
    """
    times = np.asarray(hours, np.float64)
    if len(times) < 3:
        raise ValueError(f"expected three figures or more, got {len(times)}")
    fit: Any = stats.linregress(times, np.asarray(figures, np.float64))
    half = float(stats.t.ppf(0.975, len(times) - 2)) * float(fit.stderr)
    slope = float(fit.slope)
    return Trend(float(np.mean(figures)), slope, slope - half, slope + half)
