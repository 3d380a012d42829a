"""How a job tells what it is doing, to a terminal, to a Prefect artifact, or to nobody."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One step of a job.

    Args:
        stage: what is being done, in a few words ("meta-train maml"); a change of stage starts a new bar.
        done: units finished in this stage, 0..total.
        total: units in this stage; None where nobody knows.
        figures: numbers worth showing beside the bar (loss, images a second).
        seconds_left: until the stage is done, at its pace; None where nobody knows.
        remark: what someone should know now, in a sentence; empty: nothing.
    """

    stage: str
    done: int
    total: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds_left: float | None = None
    remark: str = ""

    @property
    def time_left(self) -> str:
        """The remaining time as people say it: "40 s left", "12 min left", "3 h 05 min left"; empty where unknown."""
        if self.seconds_left is None:
            return ""
        minutes, seconds = divmod(round(self.seconds_left), 60)
        if minutes == 0:
            return f"{seconds} s left"
        return f"{minutes} min left" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min left"


_PACE_SECONDS = 30.0

OnProgress = Callable[[Progress], None]
"""What a job calls, at most a few times a second and always from the job's own thread."""


def ignore_progress(_: Progress) -> None:
    """Tell nobody."""


class KeptRemarks:
    """An `OnProgress` that hands on what it is told and keeps the remarks, each once, for those who ask afterwards."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._kept: dict[str, None] = {}

    def __call__(self, progress: Progress) -> None:
        """Hand on, and keep the remark."""
        if progress.remark:
            self._kept[progress.remark] = None
        self._on_progress(progress)

    @property
    def remarks(self) -> tuple[str, ...]:
        """In the order in which they came."""
        return tuple(self._kept)


class Pace:
    """Units a second over the last half minute, so that a run that skips what it knows does not promise too much."""

    def __init__(self) -> None:
        self._told: deque[tuple[float, int]] = deque([(0.0, 0)])

    def tell(self, seconds: float, done: int) -> float:
        """Take in how many units are `done` after so many seconds; return units a second."""
        self._told.append((seconds, done))
        while len(self._told) > 2 and self._told[1][0] <= seconds - _PACE_SECONDS:
            self._told.popleft()
        began, before = self._told[0]
        return (done - before) / (seconds - began) if seconds > began else 0.0
