"""What scoring says of a whole run: how far it is, its counts, and the files to look at."""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.results.records import Duplicate, StoredScore
from deploy.scoring.image_result import FileStatus, ImageResult
from pipeline.calibration import Decision
from pipeline.imaging.images import UnreadableImage

MAX_RECORDS = 10_000
"""How many flagged files, unreadable files and duplicates a summary names; it counts all of them."""


@dataclass(frozen=True, kw_only=True)
class ScoringProgress:
    """How far a run is, in files or frames: `done` is scored, skipped and unreadable together; `total` None: unknown.

    Counts only what is committed to the result store, so that a killed process loses nothing that it reported.
    `remarks` are sentences that someone should read now.
    """

    done: int
    skipped: int
    flagged: int
    unreadable: int
    total: int | None
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScoringSummary:
    """A finished run. Counts are of files, and cover every file; the lists name at most `MAX_RECORDS`.

    Args:
        run_id: in the result store.
        line: scored.
        version: of its bundle.
        found: image files in the folder: scored, skipped and unreadable.
        scored: met for the first time by this bundle (or in this run twice, see `duplicates`).
        skipped: had a score of this bundle already.
        unreadable: could not be decoded.
        decisions: over scored and skipped files.
        scores: (N,) float64, the finite scores of scored and skipped files, in the order of the folder.
        flagged: REVIEW and REJECT, the highest scores first.
        unreadable_files: in the order of the folder.
        duplicates: files whose content the store knows under another path. The store keeps one row a content, with
            the path that was met first; each of the files is counted, and named among the flagged, by itself.
        duplicate_count: how many those are.
        seconds: the run took.
    """

    run_id: int
    line: str
    version: str
    found: int
    scored: int
    skipped: int
    unreadable: int
    decisions: dict[Decision, int]
    scores: NDArray[np.float64]
    flagged: Sequence[ImageResult]
    unreadable_files: Sequence[UnreadableImage]
    duplicates: Sequence[Duplicate]
    duplicate_count: int
    seconds: float

    @property
    def flagged_count(self) -> int:
        """How many files are REVIEW or REJECT."""
        return self.decisions[Decision.REVIEW] + self.decisions[Decision.REJECT]

    @property
    def images_per_second(self) -> float | None:
        """Scored files a second, decoding and overlays included; None: nothing was new."""
        return self.scored / self.seconds if self.scored and self.seconds > 0 else None


class ScoringTally:
    """Adds up results while a run goes on, in memory that does not grow but for eight bytes a score."""

    def __init__(self) -> None:
        self.files: Counter[FileStatus] = Counter()
        self.decisions: Counter[Decision] = Counter()
        self.moved: list[Duplicate] = []
        self.moved_count = 0
        self.unreadable: list[UnreadableImage] = []
        self._scores = array("d")
        self._flagged: list[tuple[float, int, ImageResult]] = []

    def add(self, result: ImageResult, stored: StoredScore | None = None) -> None:
        """Count a file; `stored` is the row that a skipped one was found in."""
        self.files[result.status] += 1
        if result.decision is not None:
            self.decisions[result.decision] += 1
        if result.score is not None:
            self._scores.append(result.score)
        if result.flagged:
            rank = math.inf if result.score is None else result.score
            heapq.heappush(self._flagged, (rank, -self.done, result))
            if len(self._flagged) > MAX_RECORDS:
                heapq.heappop(self._flagged)
        if result.status is FileStatus.UNREADABLE and len(self.unreadable) < MAX_RECORDS:
            path = result.path or Path(result.name)
            self.unreadable.append(UnreadableImage(path, result.sha256, result.reason or ""))
        if stored is not None and stored.image_path != result.location:
            self.moved_count += 1
            if len(self.moved) < MAX_RECORDS:
                self.moved.append(Duplicate(result.location, stored.image_path))

    @property
    def done(self) -> int:
        """Files so far."""
        return self.files.total()

    @property
    def flagged_count(self) -> int:
        """REVIEW and REJECT so far."""
        return self.decisions[Decision.REVIEW] + self.decisions[Decision.REJECT]

    def scores(self) -> NDArray[np.float64]:
        """(N,) the finite scores so far."""
        return np.array(self._scores, dtype=np.float64)

    def flagged(self) -> tuple[ImageResult, ...]:
        """The flagged files with the highest scores, highest first."""
        return tuple(result for _, _, result in sorted(self._flagged, key=lambda entry: entry[:2], reverse=True))
