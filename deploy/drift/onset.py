"""When a change began, from the numbers around it: more exactly than the test that noticed it can say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deploy.drift.detector import STATISTICS, numbers_of, profiles_of
from deploy.drift.place import PLACE, places
from deploy.results.drift_rows import StreamRow

_WIDEST = 10  # median distances from the median: what lies further is clipped to it


def onset(statistic: str, rows: Sequence[StreamRow], *, expected: int) -> int:
    """The place in rows of the first changed image: where a step leaves the least squares; outliers are clipped.

    Args:
        statistic: that changed.
        rows: of the stream, up to the one that gave the alarm.
        expected: where the test says that it began: there where nothing better is found.
    """
    values = _values(statistic, rows, expected)
    there = np.flatnonzero(np.isfinite(values))
    if len(there) < 2:
        return expected
    found = values[there]
    middle = np.median(found)
    spread = np.median(np.abs(found - middle))
    found = found.clip(middle - _WIDEST * spread, middle + _WIDEST * spread) if spread else found
    found -= found.mean()
    before = np.arange(1, len(found))
    gain = found.cumsum()[:-1] ** 2 / (before * (len(found) - before))  # of squares, by a step at each place
    return int(there[1 + gain.argmax()])


def _values(statistic: str, rows: Sequence[StreamRow], expected: int) -> NDArray[np.float64]:
    if statistic not in PLACE:
        return numbers_of(rows)[:, STATISTICS.index(statistic)]
    profiles = profiles_of(rows)
    first = profiles[:expected]
    first = first[np.isfinite(first[:, 0])]
    if not len(first):
        return np.full(len(rows), np.nan)
    return places(profiles, first.mean(0))[:, PLACE.index(statistic)]
