"""When what is killed: seeded, so that a day can be had again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from benchmarks.plant_day.processes import Processes

PARTS = ("worker", "server", "scorer")
_LATEST = 12.0  # seconds after a step's beginning
_AWAY = (0.0, 6.0)  # seconds until it is started again


class Faults:
    """Kills each part once, in a step and at a moment of it that are drawn.

    Args:
        processes: what is killed.
        steps: of the day, by name; the same part is killed in one of them.
        seed: of the draw.

    Attributes:
        done: what was killed, in which step, how many seconds after its beginning.
    """

    def __init__(self, processes: Processes, steps: Sequence[str], seed: int) -> None:
        self.done: list[str] = []
        self._processes, self._rng = processes, np.random.default_rng(seed)
        self._plan = {part: steps[int(self._rng.integers(len(steps)))] for part in PARTS}

    @contextmanager
    def during(self, step: str) -> Iterator[None]:
        """The step, with what is killed in it; it ends when all of that is back."""
        print(f"{time.strftime('%H:%M:%S')} {step}", flush=True)
        draws = {part: (self._rng.uniform(0, _LATEST), self._rng.uniform(*_AWAY)) for part in PARTS}
        timers = [
            threading.Timer(draws[part][0], self._kill, (part, step, *draws[part]))
            for part, planned in self._plan.items()
            if planned == step
        ]
        for timer in timers:
            timer.start()
        try:
            yield
        finally:
            for timer in timers:
                timer.join()

    def _kill(self, part: str, step: str, after: float, away: float) -> None:
        self._processes.kill(part, away)
        self.done.append(f"{part}: {step}, {after:.0f} s after its beginning, back {away:.0f} s later")
        print(f"{time.strftime('%H:%M:%S')} killed and back: {self.done[-1]}", flush=True)
