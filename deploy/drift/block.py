"""How many images of a stream say as much as one, where like parts follow each other.

The test takes the order of images to say nothing. Where parts come in runs, an image says little beside the one before,
and what is a bound on false alarms for single images is none; it is one, nearly, for means of blocks that are longer
than the runs. What changes more slowly, as daylight does, remains a change, and is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deploy.drift.detector import numbers_of
from deploy.results.drift_rows import StreamRow

LEARNED = 200
"""Images of a stream from which the block is chosen."""
MOST = 64

_RUNS = 2  # a block is so many times as long as images say the same
_SURE = 3  # standard errors that an autocorrelation differs from none


def block_of(rows: Sequence[StreamRow]) -> int:
    """The block for a stream that begins so: 1 where its order says nothing, else a power of two, at most `MOST`."""
    columns = numbers_of(rows).T
    repeats = max((_repeats(values[np.isfinite(values)]) for values in columns), default=1.0)
    return 1 if repeats == 1 else min(2 ** math.ceil(math.log2(_RUNS * repeats)), MOST)


def _repeats(values: NDArray[np.float64]) -> float:
    """How many images say as much as one: one and twice the sum of the autocorrelations that are surely positive."""
    if len(values) < 2 or np.ptp(values) == 0:
        return 1.0
    middle, spread = np.median(values), np.median(np.abs(values - np.median(values)))
    found = values.clip(middle - 5 * spread, middle + 5 * spread) if spread else values  # a defect is no run
    found = found - found.mean()
    total = found @ found
    repeats = 1.0
    for lag in range(1, len(found) // 4):
        correlation = (found[lag:] @ found[:-lag]) / total
        if correlation < _SURE / math.sqrt(len(found)):
            break
        repeats += 2 * correlation
    return repeats
