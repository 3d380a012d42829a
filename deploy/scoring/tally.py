"""What scoring says of a whole run: how far it is, its counts, and the files to look at."""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.reports.counts import Counts
from deploy.reports.parts import PartsShown
from deploy.results.records import Duplicate, StoredScore
from deploy.scoring.image_result import FileStatus, ImageResult
from pipeline.calibration import Decision
from pipeline.imaging.images import UnreadableImage

MAX_RECORDS = 10_000
"""How many flagged files, unreadable files and duplicates a summary names; it counts all of them."""

_PLACES = {decision: place for place, decision in enumerate(Decision)}


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


class ScoringTally:
    """Adds up a line's results while a run goes on, in memory that does not grow but for nine bytes a score."""

    def __init__(self) -> None:
        self.files: Counter[FileStatus] = Counter()
        self.moved: list[Duplicate] = []
        self.moved_count = 0
        self.unreadable: list[UnreadableImage] = []
        """The first, in the order of the source."""
        self._decisions: Counter[Decision] = Counter()
        self._not_judged: Counter[Decision] = Counter()
        self._scores = array("d")
        self._decided = array("B")  # for each score the place of its decision in `Decision`
        self._flagged: list[tuple[float, int, ImageResult]] = []

    def add(self, result: ImageResult, stored: StoredScore | None = None) -> None:
        """Count a file; `stored` is the row that a skipped one was found in."""
        self.files[result.status] += 1
        if result.decision is not None:
            self._decisions[result.decision] += 1
            if result.score is None:
                self._not_judged[result.decision] += 1
            else:
                self._scores.append(result.score)
                self._decided.append(_PLACES[result.decision])
        if result.flagged:
            rank = math.inf if result.score is None else result.score
            slim = replace(
                result, regions=(), figures=None
            )  # thousands of contours would fill the memory, and nobody asks for them
            heapq.heappush(self._flagged, (rank, -self.done, slim))
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
    def counts(self) -> Counts:
        """Of the files so far."""
        return Counts(
            scored=self.files[FileStatus.SCORED],
            skipped=self.files[FileStatus.SKIPPED],
            unreadable=self.files[FileStatus.UNREADABLE],
            decisions={decision: self._decisions[decision] for decision in Decision},
            not_judged={decision: self._not_judged[decision] for decision in Decision},
        )

    def scores(self) -> NDArray[np.float64]:
        """(N,) the finite scores so far."""
        return np.array(self._scores, dtype=np.float64)

    def scores_by_decision(self) -> dict[Decision, NDArray[np.float64]]:
        """The same, apart by what was decided on them."""
        scores, decided = self.scores(), np.array(self._decided, dtype=np.uint8)
        return {decision: scores[decided == place] for decision, place in _PLACES.items()}

    def flagged(self) -> tuple[ImageResult, ...]:
        """The flagged files with the highest scores, highest first; before them those without a finite score."""
        return tuple(result for _, _, result in sorted(self._flagged, key=lambda entry: entry[:2], reverse=True))


@dataclass(frozen=True, kw_only=True)
class ScoringSummary:
    """A finished run of a line. Counts cover every file; the lists name at most `MAX_RECORDS`.

    Args:
        run_id: in the result store.
        line: scored.
        version: of its bundle.
        tally: of its files.
        duplicates: files whose content the store knows under another path. The store keeps one row a content, with
            the path that was met first; each of the files is counted, and named among the flagged, by itself.
        duplicate_count: how many those are.
        seconds: the run took.
        remarks: what someone should know of the images.
        parts: of several views; None: each image was judged by itself.
    """

    run_id: int
    line: str
    version: str
    tally: ScoringTally
    duplicates: Sequence[Duplicate]
    duplicate_count: int
    seconds: float
    remarks: tuple[str, ...] = ()
    parts: PartsShown | None = None

    @cached_property
    def counts(self) -> Counts:
        """Of the source's files or frames."""
        return self.tally.counts

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(N,) the finite scores of scored and skipped files, in the order of the source."""
        return self.tally.scores()

    @cached_property
    def flagged(self) -> Sequence[ImageResult]:
        """REVIEW and REJECT, the highest scores first."""
        return self.tally.flagged()

    @property
    def unreadable_files(self) -> Sequence[UnreadableImage]:
        """In the order of the source."""
        return self.tally.unreadable

    @property
    def images_per_second(self) -> float | None:
        """See `Counts.per_second`."""
        return self.counts.per_second(self.seconds)
