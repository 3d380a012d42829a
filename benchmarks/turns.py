"""Timing on a shared machine: all sides take turns, so that what else it does meets them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from statistics import median
from typing import NamedTuple, TypeVar

SideT = TypeVar("SideT", bound=Hashable)


class Taken(NamedTuple):
    """Seconds of one call: on the wall, and of this process's CPU time."""

    wall: float
    cpu: float


def in_turns(
    sides: Mapping[SideT, Callable[[int], object]], rounds: int, *, warm_ups: int = 0
) -> dict[SideT, list[Taken]]:
    """Call every side once a round, with the number of the round; what each took, without the warm-up rounds."""
    taken: dict[SideT, list[Taken]] = {side: [] for side in sides}
    for number in range(warm_ups + rounds):
        for side, call in sides.items():
            cpu, wall = time.process_time(), time.perf_counter()
            call(number)
            found = Taken(time.perf_counter() - wall, time.process_time() - cpu)
            if number >= warm_ups:
                taken[side].append(found)
    return taken


def median_ratio(above: Iterable[float], below: Iterable[float]) -> float:
    """The median over rounds of a ratio of two figures that were measured next to each other."""
    return median(a / b for a, b in zip(above, below, strict=True))
