"""A scoring run while it goes on, of one line or of a plant: images to the workers, outcomes in order to the sink."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import cv2

from deploy.engine.limits import available_cpus
from deploy.messages.publisher import COMMIT_SECONDS, Publisher
from deploy.results.records import NewPart, NewResult
from deploy.results.schema import RunStatus
from deploy.results.store import ResultStore
from deploy.scoring.dispatch import Batched, Dispatch, Fused
from deploy.scoring.image_result import FileStatus, ImageResult, ImageView
from deploy.scoring.line_scoring import LineScoring
from deploy.scoring.open_parts import OpenParts
from deploy.scoring.part_rule import PartRule
from deploy.scoring.reporting import CommittedProgress, OnProgress
from deploy.scoring.sink import FoundDuplicates, ResultSink
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.tally import ScoringProgress
from deploy.scoring.worker import Outcome, ScoringWorker
from pipeline.errors import ConfigError

OnLineResult = Callable[[LineScoring, ImageResult, ImageView | None], None]


class ScoringRun:
    """One run's state, all of it owned by the calling thread.

    Args:
        store: where the rows go.
        source: what the store calls what is scored.
        device: what the engines run on, for the runs' rows.
        workers: threads that decode (and on a CPU score); None: one for each CPU this process may use.
        batch_size: images that are scored at once; above 1 decoding is apart from scoring.
        on_progress: called from this thread, at most ten times a second and once at the end.
        on_result: called from this thread for every image, in the order they were put.
        total: how many images there are, if the caller knows; it may change.
        remarks: asked for what someone should read now, besides what images of a line are told of.
        publisher: tells others of the results; None: nobody is told.
        part_rule: groups images into parts that are told as one; None: each image is told by itself.

    Raises:
        ConfigError: `workers` or `batch_size` is below one.
    """

    def __init__(
        self,
        store: ResultStore,
        source: str,
        *,
        device: str,
        workers: int | None,
        batch_size: int,
        on_progress: OnProgress | None,
        on_result: OnLineResult | None,
        total: int | None,
        remarks: Callable[[], Iterable[str]],
        publisher: Publisher | None = None,
        part_rule: PartRule | None = None,
    ) -> None:
        self._workers = available_cpus() if workers is None else workers
        if self._workers < 1 or batch_size < 1:
            got = f"{self._workers} and {batch_size}"
            raise ConfigError("at least 1 worker and batches of 1", got, "leave them out")
        self._store = store
        self._source = source
        self._device = device
        self._on_result = on_result
        self.total = total
        self.lines: list[LineScoring] = []
        """In the order they began."""
        self._counts: Counter[str] = Counter()
        self._rows = 0
        self._publisher = publisher
        self._part_rule = part_rule
        if publisher is None:
            self._sink = ResultSink(store)
        else:
            self._sink = ResultSink(store, commit_seconds=COMMIT_SECONDS, on_commit=publisher.committed)
        of_delivery = (lambda: publisher.remarks) if publisher is not None else tuple
        self._progress = CommittedProgress(
            self._sink, on_progress, total, lambda: [*remarks(), *self.remarks, *of_delivery()]
        )
        self._dispatch: Dispatch[LineScoring] = (
            Fused(self._workers) if batch_size == 1 else Batched(self._workers, batch_size)
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What someone should know of the lines' images so far."""
        return tuple(dict.fromkeys(remark for line in self.lines for remark in line.remarks))

    @property
    def duplicates(self) -> FoundDuplicates:
        """Contents that the store had under another path; of a finished run."""
        return self._sink.duplicates

    @property
    def tells_parts(self) -> bool:
        """Whether images are grouped into parts."""
        return self._part_rule is not None

    def begin(self, worker: ScoringWorker, folder: str = "") -> LineScoring:
        """Begin a line's run in the store; `folder` of the line below what is scored, if it is below it.

        Raises:
            StorageError: the store cannot be written.
        """
        run_id = self._store.begin_run(worker.bundle, self._source, device=self._device, workers=self._workers)
        rule = self._part_rule
        parts = None if rule is None else OpenParts(rule, worker.bundle, self._store, folder)
        self.lines.append(LineScoring(worker, run_id, parts=parts))
        return self.lines[-1]

    def end(self, line: LineScoring) -> None:
        """End a line at its bundle before the run ends: finish what is under way, also parts that miss views.

        Raises:
            LinewiseError: as `take`.
        """
        self.take(everything=True)
        self._tell_parts(line, OpenParts.rest)
        line.end()

    def put(self, line: LineScoring, item: SourceItem) -> None:
        """Hand an image to the workers; call `take` after it."""
        self._dispatch.put(line, item)

    def take(self, *, everything: bool = False) -> None:
        """Count what the workers have done, and tell progress when it is due; wait for all with `everything`.

        Raises:
            LinewiseError: an image could not be scored, or a row not be committed.
        """
        for line, outcome in self._dispatch.take(everything=everything):
            self._count(line, outcome)
            self._progress.tell_when_due()
        self._progress.tell_when_due()

    def use_pause(self) -> None:
        """The source has nothing new at the moment: see that nobody who is told of results waits until it has."""
        grouping = self._part_rule is not None
        self.take(everything=grouping or self._publisher is not None)
        for line in self.lines if grouping else ():
            self._tell_parts(line, lambda parts: parts.overdue(time.monotonic()))

    def execute(self, feed: Callable[[], None]) -> None:
        """Score everything that `feed` puts, and mark how each line's run ended.

        Raises:
            LinewiseError: as `take`. Committed rows stay, and the next run goes on from there.
            KeyboardInterrupt: (and whatever else ends a program) once the rows of finished images are committed.
        """
        try:
            with single_threaded_opencv():
                self._score(feed)
            self._sink.close()
            self._finish(RunStatus.FINISHED)
        except BaseException as error:
            status = RunStatus.FAILED if isinstance(error, Exception) else RunStatus.CANCELLED
            for step in (self._sink.close, lambda: self._finish(status)):
                _noting(error, step)
            raise
        self._progress.reached(self._rows, self._state())
        self._progress.tell()

    def _score(self, feed: Callable[[], None]) -> None:
        try:
            feed()
            self.take(everything=True)
            for line in self.lines:
                self._tell_parts(line, OpenParts.rest)
        except Exception:
            raise
        except BaseException as error:  # someone ends the run: keep what the workers have done, or are doing
            self._dispatch.cancel()
            while self._dispatch.busy:
                _noting(error, lambda: self.take(everything=True))
            raise
        finally:
            self._dispatch.close()

    def _count(self, line: LineScoring, outcome: Outcome) -> None:
        if outcome.remark is not None:
            line.remarks[f"{line.line}: {outcome.remark}"] = None
        if not outcome.is_news:
            return
        result = outcome.result
        line.tally.add(result, outcome.stored)
        ended = None if line.parts is None else line.parts.take(result)
        if line.parts is not None and ended is None:
            line.remarks.setdefault(f"{line.line}: {line.parts.told_alone(result)}")
        if result.status is not FileStatus.SKIPPED:
            self._sink.put(self._row(line, result, alone=ended is None))
            self._rows += 1
        for part in ended or ():
            self._put_part(part)
        self._counts.update({"done": 1, result.status: 1, "flagged": result.flagged})
        self._progress.reached(self._rows, self._state())
        if self._on_result is not None:
            self._on_result(line, result, outcome.view)

    def _row(self, line: LineScoring, result: ImageResult, *, alone: bool) -> NewResult:
        """What the store keeps of an image; with a message unless it is told with its part."""
        row = line.row(result)
        if self._publisher is None or not alone:
            return row
        return row._replace(message=self._publisher.message(row))

    def _put_part(self, part: NewPart) -> None:
        publisher = self._publisher
        self._sink.put(part if publisher is None else part._replace(message=publisher.part_message(part)))
        self._rows += 1

    def _tell_parts(self, line: LineScoring, ended: Callable[[OpenParts], Iterable[NewPart]]) -> None:
        for part in ended(line.parts) if line.parts is not None else ():
            self._put_part(part)

    def _state(self) -> ScoringProgress:
        return ScoringProgress(
            done=self._counts["done"],
            skipped=self._counts[FileStatus.SKIPPED],
            flagged=self._counts["flagged"],
            unreadable=self._counts[FileStatus.UNREADABLE],
            total=self.total,
        )

    def _finish(self, status: RunStatus) -> None:
        for line in self.lines:
            line.end()
            counts = line.tally.counts
            self._store.finish_run(
                line.run_id,
                status,
                scored=counts.scored,
                skipped=counts.skipped,
                flagged=counts.flagged,
                unreadable=counts.unreadable,
                seconds=line.seconds or 0.0,
            )


def _noting(error: BaseException, step: Callable[[], None]) -> None:
    """Take a step that ends a failed run; what fails in it is noted on the failure that came first."""
    try:
        step()
    except Exception as second:  # the first failure is what happened; the second only comes of it
        if second is not error:
            error.add_note(f"Then, while ending the run: {second}")


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """One thread for each image: OpenCV's own threads would fight the workers for the same CPUs."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
