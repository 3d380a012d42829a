"""One scoring run while it goes on: images to the workers, results in order to the sink, progress to who asks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deploy.bundles.bundle import Bundle
from deploy.results.store import ResultRow, ResultStatus, ResultStore, RunStatus, path_text
from deploy.scoring.records import (
    MAX_RECORDS,
    FileStatus,
    ImageResult,
    ImageView,
    ScoringProgress,
    ScoringSummary,
    ScoringTally,
)
from deploy.scoring.reporting import CommittedProgress, end_after
from deploy.scoring.sink import ResultSink
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.worker import Outcome, ScoringWorker
from pipeline.calibration import Decision

OnResult = Callable[[ImageResult, ImageView | None], None]

MAX_FRAME_BYTES = 512 * 2**20
"""How much the frames of a video or stream that wait to be scored may hold; files wait on their disk."""


@dataclass(frozen=True)
class _Pending:
    """A few images at a worker; frames are in memory until they are scored."""

    outcomes: Future[list[Outcome]]
    frame_bytes: int


def chunked(items: Iterator[SourceItem | None], size: int) -> Iterator[list[SourceItem]]:
    """Items in lists of `size`; a shorter one, which may be empty, where the source has nothing more at the moment."""
    chunk: list[SourceItem] = []
    for item in items:
        if item is not None:
            chunk.append(item)
        if item is None or len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def result_row(bundle: Bundle, run_id: int, result: ImageResult) -> ResultRow:
    """What the store keeps of a result."""
    manifest = bundle.manifest
    scored = result.status is FileStatus.SCORED
    return ResultRow(
        run_id=run_id,
        line=manifest.line,
        bundle_id=bundle.id,
        bundle_version=manifest.version,
        image_path=result.location,
        image_sha256=result.sha256,
        status=ResultStatus.SCORED if scored else ResultStatus.UNREADABLE,
        reason=result.reason,
        score=result.score,
        decision=result.decision,
        reject_threshold=manifest.threshold.reject,
        review_threshold=manifest.threshold.review,
        overlay_path=path_text(result.overlay_path) if result.overlay_path is not None else None,
        scored_at=datetime.now(UTC),
    )


@dataclass(kw_only=True)
class ScoringRun:
    """One run's state, all of it owned by the calling thread."""

    worker: ScoringWorker
    store: ResultStore
    run_id: int
    sink: ResultSink
    progress: CommittedProgress
    on_result: OnResult | None
    total: int | None
    tally: ScoringTally = field(default_factory=ScoringTally)
    pending: deque[_Pending] = field(default_factory=deque)
    rows: int = 0
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def execute(self, items: Iterator[SourceItem | None], workers: int) -> None:
        """Score everything, and mark how the run ended."""
        try:
            self._score_all(items, workers)
            self.sink.close()
            self._finish(RunStatus.FINISHED)
        except BaseException as error:
            status = RunStatus.FAILED if isinstance(error, Exception) else RunStatus.CANCELLED
            end_after(error, (self.sink.close, lambda: self._finish(status)))
            raise
        self.progress.tell()

    def _score_all(self, items: Iterator[SourceItem | None], workers: int) -> None:
        window = 2 * workers + 1  # enough that no worker waits for the first in line, and no more is in memory
        with ThreadPoolExecutor(workers, thread_name_prefix="linewise-score") as pool:
            try:
                for chunk in chunked(items, self.worker.batch_size):
                    if chunk:
                        frames = sum(item.frame.nbytes for item in chunk if item.frame is not None)
                        self.pending.append(_Pending(pool.submit(self.worker.score, chunk), frames))
                    while self.pending and (len(self.pending) >= window or self._holds_much()):
                        self._take_first()
                    while self.pending and self.pending[0].outcomes.done():
                        self._take_first()
                    self.progress.tell_when_due()
                while self.pending:
                    self._take_first()
                    self.progress.tell_when_due()
            except Exception:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            except BaseException as error:
                self._take_finished(error)
                raise

    def _holds_much(self) -> bool:
        return sum(pending.frame_bytes for pending in self.pending) > MAX_FRAME_BYTES

    def _take_first(self) -> None:
        outcomes = self.pending[0].outcomes.result()
        self.pending.popleft()
        self._take(outcomes)

    def _take_finished(self, error: BaseException) -> None:
        """Keep what the workers have done, or are doing, when someone ends the run."""
        running = [pending.outcomes for pending in self.pending if not pending.outcomes.cancel()]
        for future in running:
            if (failure := future.exception()) is None:
                self._take(future.result())
            else:
                error.add_note(f"Then, while ending the run: {failure}")

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.tally.add(outcome.result, outcome.stored)
            if outcome.result.status is not FileStatus.SKIPPED:
                self.sink.put(result_row(self.worker.bundle, self.run_id, outcome.result))
                self.rows += 1
            self.progress.reached(self.rows, self._progress())
            if self.on_result is not None:
                self.on_result(outcome.result, outcome.view)

    def _progress(self) -> ScoringProgress:
        return ScoringProgress(
            done=self.tally.done,
            skipped=self.tally.files[FileStatus.SKIPPED],
            flagged=self.tally.flagged_count,
            unreadable=self.tally.files[FileStatus.UNREADABLE],
            total=self.total,
        )

    def _finish(self, status: RunStatus) -> None:
        self.seconds = time.monotonic() - self.began
        self.store.finish_run(
            self.run_id,
            status,
            scored=self.tally.files[FileStatus.SCORED],
            skipped=self.tally.files[FileStatus.SKIPPED],
            flagged=self.tally.flagged_count,
            unreadable=self.tally.files[FileStatus.UNREADABLE],
            seconds=self.seconds,
        )

    def summary(self) -> ScoringSummary:
        """The finished run."""
        manifest = self.worker.bundle.manifest
        return ScoringSummary(
            run_id=self.run_id,
            line=manifest.line,
            version=manifest.version,
            found=self.tally.done,
            scored=self.tally.files[FileStatus.SCORED],
            skipped=self.tally.files[FileStatus.SKIPPED],
            unreadable=self.tally.files[FileStatus.UNREADABLE],
            decisions={decision: self.tally.decisions[decision] for decision in Decision},
            scores=self.tally.scores(),
            flagged=self.tally.flagged(),
            unreadable_files=tuple(self.tally.unreadable),
            duplicates=tuple([*self.tally.moved, *self.sink.duplicates][:MAX_RECORDS]),
            duplicate_count=self.tally.moved_count + self.sink.duplicate_count,
            seconds=self.seconds,
        )
