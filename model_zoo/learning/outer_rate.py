"""The course of an outer loop's rate."""

from __future__ import annotations

import math


def rate_factor(done: int, *, pooled: int, outer: int) -> float:
    """What the outer rates are multiplied by after `done` steps of `outer`, the first `pooled` of them pooled ones.

    A cosine over the pooled steps, then one of half the height over the rest.
    """
    if done <= pooled:
        return 0.5 * (1 + math.cos(math.pi * done / max(1, pooled)))
    return 0.25 * (1 + math.cos(math.pi * min(1.0, (done - pooled) / max(1, outer - pooled))))
