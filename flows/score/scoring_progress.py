"""How far scoring is, as jobs tell it."""

from __future__ import annotations

from collections.abc import Callable

from deploy.scoring.tally import ScoringProgress
from flows.progress import OnProgress, Pace, Progress


def telling(on_progress: OnProgress, stage: str) -> Callable[[ScoringProgress], None]:
    """What scoring calls so that `on_progress` hears of it as of any other job, at its latest pace."""
    pace = Pace()

    def tell(progress: ScoringProgress) -> None:
        rate = pace.tell(progress.seconds, progress.done)
        left = (progress.total - progress.done) / rate if progress.total is not None and rate > 0 else None
        on_progress(
            Progress(
                stage=stage,
                done=progress.done,
                total=progress.total,
                figures={"images/s": rate, "flagged": progress.flagged, "unreadable": progress.unreadable},
                seconds_left=None if left is None else max(left, 0.0),  # a video's header knows its length only about
                remark=" ".join(progress.remarks),
            )
        )

    return tell
