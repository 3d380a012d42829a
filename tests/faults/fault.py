"""What a fault is: one small function that makes it happen and asserts what holds then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.faults.scene import Stage


class SkippedError(Exception):
    """A fault that cannot be made on this machine, and why."""


@dataclass
class Trial:
    """What a fault is given.

    Args:
        stage: makes homes.
        rng: of the seed and the fault's name.
        kills: how many processes to kill, for those faults that do.
        seconds: how long something is away that comes back.
        counted: what the fault did, in numbers for the table.
    """

    stage: Stage
    rng: Random
    kills: int
    seconds: float
    counted: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, times: int = 1) -> None:
        """Note what was done."""
        self.counted[what] = self.counted.get(what, 0) + times


Fault = Callable[[Trial], None]
"""Raises AssertionError where something was lost, was there twice, was half read or was no sentence."""
