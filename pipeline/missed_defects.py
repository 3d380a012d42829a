"""The rate stated the other way round: a limit that so large a share of defects like the known ones misses, at most.

A further defect that is drawn as M known ones were scores below the k-th lowest of them with a probability of
k / (M + 1) at most, whatever the law of their scores (split conformal prediction, Vovk et al. 2005). So M defects can
promise 1 / (M + 1) at best. Of defects that a line was adapted from each is scored by a head of the others: the line's
own head knows more of them, and is taken to tell defects no worse.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError

_ROUNDING = 1e-9


def missed_limit(known: NDArray[np.float64], missed: float) -> float:
    """The limit.

    Args:
        known: (M,) image scores of known defects, each by a head that does not know it.
        missed: share of such defects that may score below the limit, 0..1.

    Raises:
        ConfigError: too few defects for that share.
    """
    require_defects(missed, len(known))
    lowest = int((len(known) + 1) * missed + _ROUNDING)
    return float(np.sort(known)[lowest - 1])


def require_defects(missed: float, count: int) -> None:
    """See that so many known defects can promise that no larger share of such is missed.

    Raises:
        ConfigError: they are too few.
    """
    least = math.ceil(1 / missed - 1 - _ROUNDING)
    if count < least:
        raise ConfigError(
            f"at least {least} known defects to promise that at most {missed:.4g} of such are missed",
            f"{count}, which can promise {1 / (count + 1):.2g} at best" if count else "none",
            "add defects, allow more missed ones, or state a false-reject rate",
        )
