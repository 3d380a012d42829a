"""When what is killed: seeded, so that a day can be had again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from benchmarks.plant_day.processes import Processes

PARTS = ("worker", "server", "scorer")
UNSTARTED = "worker, between a run's submission and its start"
_LATEST = 12.0  # seconds after a step's beginning
_AWAY = (0.0, 6.0)  # seconds until it is started again


class Faults:
    """Kills each part once, in a step and at a moment of it that are drawn, and the worker once more: as soon as it has
    taken a run, and before that began.

    Args:
        processes: what is killed.
        steps: of the day, by name; the same part is killed in one of them.
        seed: of the draw.

    Attributes:
        done: what was killed, in which step, how many seconds after its beginning.
        took: seconds that each step took.
    """

    def __init__(self, processes: Processes, steps: Sequence[str], seed: int) -> None:
        self.done: list[str] = []
        self.took: dict[str, float] = {}
        self._processes, self._steps, self._rng = processes, steps, np.random.default_rng(seed)
        self._parts = (*PARTS, *processes.services, UNSTARTED)
        self._plan = {part: int(self._rng.integers(len(steps))) for part in self._parts}

    @contextmanager
    def during(self, step: str) -> Iterator[None]:
        """The step, with what is killed in it; it ends when all of that is back."""
        print(f"{time.strftime('%H:%M:%S')} {step}", flush=True)
        began, over, number = time.monotonic(), threading.Event(), self._steps.index(step)
        draws = {part: (self._rng.uniform(0, _LATEST), self._rng.uniform(*_AWAY)) for part in self._parts}
        planned = [part for part in self._parts if self._plan[part] == number]
        threads = [
            threading.Thread(target=self._kill_unstarted, args=(step, draws[part][1], over))
            if part == UNSTARTED
            else threading.Timer(draws[part][0], self._kill, (part, step, began, draws[part][1]))
            for part in planned
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
            self.took[step] = round(time.monotonic() - began, 1)

    def _kill(self, part: str, step: str, began: float, away: float) -> None:
        after = time.monotonic() - began
        self._processes.kill("worker" if part == UNSTARTED else part, away)
        self.done.append(f"{part}: {step}, {after:.0f} s after its beginning, back {away:.0f} s later")
        print(f"{time.strftime('%H:%M:%S')} killed and back: {self.done[-1]}", flush=True)

    def _kill_unstarted(self, step: str, away: float, over: threading.Event) -> None:
        """Wait for the moment, in the next step where this one has none."""
        began = time.monotonic()
        while not over.wait(0.2):
            if self._processes.has_unstarted_run():
                self._kill(UNSTARTED, step, began, away)
                return
        self._plan[UNSTARTED] += 1
