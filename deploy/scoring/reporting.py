"""Progress that is true already: of a run, what is committed to the result store."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from deploy.scoring.sink import ResultSink
from deploy.scoring.tally import ScoringProgress

OnProgress = Callable[[ScoringProgress], None]

_PROGRESS_SECONDS = 0.1


class CommittedProgress:
    """Reports the latest state of which every row is committed: `kill -9` then loses nothing that was reported.

    Args:
        sink: where the rows go.
        on_progress: whom to tell; None: nobody.
        total: how many images there are; None: nobody counted.
        remarks: asked for what someone should read now.
    """

    def __init__(
        self,
        sink: ResultSink,
        on_progress: OnProgress | None,
        total: int | None,
        remarks: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._sink = sink
        self._on_progress = on_progress
        self._remarks = remarks
        self._latest = ScoringProgress(done=0, skipped=0, flagged=0, unreadable=0, total=total)
        self._waiting: deque[tuple[int, ScoringProgress]] = deque()  # with the rows it takes to be true
        self._began = time.monotonic()
        self._due = 0.0

    def reached(self, rows: int, progress: ScoringProgress) -> None:
        """Take in a state that is true once so many rows are committed."""
        self._waiting.append((rows, progress))

    def tell(self) -> None:
        """Report now."""
        committed, now = self._sink.committed, time.monotonic()
        while self._waiting and self._waiting[0][0] <= committed:
            self._latest = self._waiting.popleft()[1]
        self._due = now + _PROGRESS_SECONDS
        if self._on_progress is not None:
            told = replace(self._latest, seconds=now - self._began, remarks=tuple(self._remarks()))
            self._on_progress(told)

    def tell_when_due(self) -> None:
        """Report, at most ten times a second."""
        if time.monotonic() >= self._due:
            self.tell()
