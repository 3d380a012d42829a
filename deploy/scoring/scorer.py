"""Score a folder: files in, decisions out, in flat memory, and never twice the same.

Worker threads take a few files each, decode and score them and draw the flagged ones (decoding and onnxruntime let go
of the GIL). The calling thread takes their results in the folder's order and counts; the sink's thread commits rows.
On a CPU images go one by one: there a batch is slower than its images.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

import cv2

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
from deploy.scoring.sink import ResultSink
from deploy.scoring.worker import HeadScores, ImageScorer, Outcome, ScoringWorker
from pipeline.calibration import Decision
from pipeline.errors import ConfigError, LinewiseError
from pipeline.imaging.images import DEFAULT_LIMITS, ImageLimits, iter_image_files

__all__ = [
    "FileStatus",
    "HeadScores",
    "ImageResult",
    "ImageScorer",
    "ImageView",
    "OnProgress",
    "OnResult",
    "ScoringProgress",
    "ScoringSummary",
    "score_folder",
]

OnProgress = Callable[[ScoringProgress], None]
OnResult = Callable[[ImageResult, ImageView | None], None]

_PROGRESS_SECONDS = 0.1


def score_folder(
    bundle: Bundle,
    engine: ImageScorer,
    folder: Path,
    store: ResultStore,
    *,
    device: str = "cpu",
    head: str | None = None,
    workers: int | None = None,
    batch_size: int = 1,
    overlays: Path | None = None,
    on_progress: OnProgress | None = None,
    on_result: OnResult | None = None,
    total: int | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> ScoringSummary:
    """Score every image file below a folder, and keep one row for each content in the store.

    A content that has a score of this bundle is not scored again: its file counts with the stored score. A file that
    cannot be decoded becomes a row with the reason, and is tried again in the next run.

    Args:
        bundle: whose preprocessing and threshold hold.
        engine: has the bundle's head.
        folder: searched with its subfolders; an `overlays` folder below it is left out.
        store: where the rows go.
        device: what the engine runs on, for the run's row.
        head: the head's name in the engine; None: the line's.
        workers: threads that decode and score; None: one for each CPU this process may use.
        batch_size: images scored at once; 1 is best on a CPU. Short batches are padded, so that an accelerator sees
            one shape.
        overlays: folder for a JPEG with a heat map of each flagged image, named by bundle and content; None: none.
        on_progress: called from this thread, at most ten times a second and once at the end.
        on_result: called from this thread for every file, in the folder's order, with the view where it was scored.
        total: how many files there are, if the caller knows; only handed on to `on_progress`.
        limits: on the size of images.

    Returns:
        The run in numbers, and the files to look at.

    Raises:
        ConfigError: `workers` or `batch_size` is below one.
        StorageError: the folder cannot be read, or an overlay or a row cannot be written. Committed rows stay, and the
            next run goes on from there.
        KeyboardInterrupt: (and whatever else ends a program) once the rows of finished images are committed and the
            run is marked as cancelled.
    """
    workers = workers if workers is not None else len(os.sched_getaffinity(0))
    if workers < 1 or batch_size < 1:
        raise ConfigError("at least 1 worker and batches of 1", f"{workers} and {batch_size}", "leave them out")
    files = iter_image_files(folder)
    if overlays is not None and (own := overlays.absolute()).is_relative_to(folder.absolute()):
        files = (path for path in files if not path.absolute().is_relative_to(own))
    first = list(islice(files, 1))  # a folder that cannot be read is an error before it is a run
    worker = ScoringWorker(
        bundle=bundle,
        engine=engine,
        head=head or bundle.manifest.line,
        known=store if store.was_used(bundle) else None,
        batch_size=batch_size,
        overlays=overlays / bundle.id[:16] if overlays is not None else None,
        limits=limits,
    )
    run = _Run(
        worker=worker,
        store=store,
        run_id=store.begin_run(bundle, folder, device=device, workers=workers),
        sink=ResultSink(store),
        on_progress=on_progress,
        on_result=on_result,
        total=total,
    )
    with _single_threaded_opencv():
        run.execute(chain(first, files), workers)
    return run.summary()


@dataclass(kw_only=True)
class _Run:
    """One run's state, all of it owned by the calling thread."""

    worker: ScoringWorker
    store: ResultStore
    run_id: int
    sink: ResultSink
    on_progress: OnProgress | None
    on_result: OnResult | None
    total: int | None
    tally: ScoringTally = field(default_factory=ScoringTally)
    pending: deque[Future[list[Outcome]]] = field(default_factory=deque)
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    next_progress: float = 0.0

    def execute(self, files: Iterator[Path], workers: int) -> None:
        """Score everything, and mark how the run ended."""
        try:
            self._score_all(files, workers)
            self.sink.close()
            self._finish(RunStatus.FINISHED)
        except BaseException as error:
            status = RunStatus.FAILED if isinstance(error, Exception) else RunStatus.CANCELLED
            for step in (self.sink.close, lambda: self._finish(status)):
                try:
                    step()
                except LinewiseError as second:  # the first failure is what happened; the second only comes of it
                    if second is not error:
                        error.add_note(f"Then, while ending the run: {second}")
            raise
        self._tell()

    def _score_all(self, files: Iterator[Path], workers: int) -> None:
        window = 2 * workers + 1  # enough that no worker waits for the first in line, and no more is in memory
        with ThreadPoolExecutor(workers, thread_name_prefix="linewise-score") as pool:
            try:
                while chunk := list(islice(files, self.worker.batch_size)):
                    self.pending.append(pool.submit(self.worker.score, chunk))
                    if len(self.pending) >= window:
                        self._take_first()
                while self.pending:
                    self._take_first()
            except Exception:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            except BaseException as error:
                self._take_finished(error)
                raise

    def _take_first(self) -> None:
        outcomes = self.pending[0].result()
        self.pending.popleft()
        self._take(outcomes)
        if time.monotonic() >= self.next_progress:
            self._tell()

    def _take_finished(self, error: BaseException) -> None:
        """Keep what the workers have done, or are doing, when someone ends the run."""
        running = [future for future in self.pending if not future.cancel()]
        for future in running:
            if (failure := future.exception()) is None:
                self._take(future.result())
            else:
                error.add_note(f"Then, while ending the run: {failure}")

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.tally.add(outcome.result, outcome.stored)
            if outcome.result.status is not FileStatus.SKIPPED:
                self.sink.put(self._row(outcome.result))
            if self.on_result is not None:
                self.on_result(outcome.result, outcome.view)

    def _row(self, result: ImageResult) -> ResultRow:
        manifest = self.worker.bundle.manifest
        scored = result.status is FileStatus.SCORED
        return ResultRow(
            run_id=self.run_id,
            line=manifest.line,
            bundle_id=self.worker.bundle.id,
            bundle_version=manifest.version,
            image_path=path_text(result.path),
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

    def _tell(self) -> None:
        self.next_progress = time.monotonic() + _PROGRESS_SECONDS
        if self.on_progress is None:
            return
        self.on_progress(
            ScoringProgress(
                done=self.tally.done,
                skipped=self.tally.files[FileStatus.SKIPPED],
                flagged=self.tally.flagged_count,
                unreadable=self.tally.files[FileStatus.UNREADABLE],
                total=self.total,
                seconds=time.monotonic() - self.began,
            )
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


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """One thread for each image: OpenCV's own threads would fight the workers for the same CPUs."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
