"""How a job tells what it is doing, to a terminal, to a Prefect artifact, or to nobody."""

from __future__ import annotations

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
    """

    stage: str
    done: int
    total: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


OnProgress = Callable[[Progress], None]
"""What a job calls, at most a few times a second and always from the job's own thread."""


def ignore_progress(_: Progress) -> None:
    """Tell nobody."""
