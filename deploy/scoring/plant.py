"""Score a whole plant in one process: images of any lines in, each line's decisions out, bundles changed on the way.

A line is opened when its first image comes. Between images its registry pointer is looked at; after a promotion the
images that are under way are finished with the old bundle, and all later ones are scored with the new one.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.bundles.registry import Registry
from deploy.engine.runtime import Device, ResolvedDevice, ScoringEngine
from deploy.results.store import ResultStore, RunStatus
from deploy.scoring.dispatch import Batched, Dispatch, Fused
from deploy.scoring.live_lines import LiveLine, LiveLines
from deploy.scoring.records import FileStatus, ScoringProgress, ScoringTally
from deploy.scoring.reporting import CommittedProgress, OnProgress, end_after
from deploy.scoring.run import result_row
from deploy.scoring.scorer import single_threaded_opencv
from deploy.scoring.sink import ResultSink
from deploy.scoring.sources.plant_folder import PlantFolder, PlantItem
from deploy.scoring.worker import ScoringWorker
from pipeline.errors import ConfigError, LinewiseError
from pipeline.imaging.images import DEFAULT_LIMITS


@dataclass
class LineScoring:
    """A line at one bundle while a plant is scored, and afterwards its counts: a run in the store."""

    live: LiveLine
    worker: ScoringWorker
    run_id: int
    tally: ScoringTally = field(default_factory=ScoringTally)
    began: float = field(default_factory=time.monotonic)
    seconds: float | None = None

    @property
    def engine(self) -> ScoringEngine:
        """The engine of the line's backbone."""
        return self.live.engine

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.live.bundle.manifest.version


@dataclass(frozen=True, kw_only=True)
class PlantSummary:
    """A finished run over a plant.

    Args:
        lines: a line at a bundle each, in the order they were met; a promotion on the way makes two of a line.
        skipped: sentence by folder, for the folders that no usable line belongs to.
        skipped_images: how many images lie in them.
        problems: promoted bundles that could not be used, in sentences; the line went on with the one before.
        backbones: how many backbone sessions served all lines.
        seconds: the run took.
    """

    lines: tuple[LineScoring, ...]
    skipped: dict[str, str]
    skipped_images: int
    problems: tuple[str, ...]
    backbones: int
    seconds: float

    def count(self, status: FileStatus) -> int:
        """How many files ended so, over all lines."""
        return sum(line.tally.files[status] for line in self.lines)

    @property
    def found(self) -> int:
        """Files of registered lines: scored, scored before, unreadable."""
        return sum(line.tally.done for line in self.lines)

    @property
    def images_per_second(self) -> float:
        """Scored files a second, decoding and overlays included."""
        return self.count(FileStatus.SCORED) / self.seconds if self.seconds > 0 else 0.0


def score_plant(
    folder: Path,
    registry: Registry,
    store: ResultStore,
    device: ResolvedDevice,
    *,
    workers: int | None = None,
    batch_size: int = 1,
    overlays: Callable[[str], Path] | None = None,
    on_progress: OnProgress | None = None,
    total: int | None = None,
) -> PlantSummary:
    """Score `folder/<line...>/**` with each line's live bundle; one row for each content and bundle in the store.

    Args:
        folder: of line folders; line names may hold slashes.
        registry: where the lines are live.
        store: where the rows go.
        device: where all engines run.
        workers: threads that decode (and on a CPU score); None: one for each CPU this process may use.
        batch_size: images of mixed lines that an accelerator takes at once; above 1 decoding is apart from scoring.
        overlays: a line's folder for pictures of flagged images; None: no pictures.
        on_progress: called from this thread, at most ten times a second and once at the end.
        total: how many images there are, if the caller knows.

    Raises:
        ConfigError: `workers` or `batch_size` is below one.
        StorageError: the folder cannot be read, or an overlay or a row cannot be written. Committed rows stay.
        KeyboardInterrupt: once the rows of finished images are committed and the runs are marked as cancelled.
    """
    workers = workers if workers is not None else len(os.sched_getaffinity(0))
    if workers < 1 or batch_size < 1:
        raise ConfigError("at least 1 worker and batches of 1", f"{workers} and {batch_size}", "leave them out")
    source = PlantFolder(folder, registry.lines())
    dispatch: Dispatch[LineScoring] = Fused(workers) if batch_size == 1 else Batched(workers, batch_size)
    sink = ResultSink(store)
    run = _PlantRun(
        source=source,
        lines=LiveLines(registry, device),
        store=store,
        sink=sink,
        dispatch=dispatch,
        device=device.device,
        workers=workers,
        batch_size=batch_size,
        overlays=overlays,
        progress=CommittedProgress(sink, on_progress, total),
        total=total,
    )
    with single_threaded_opencv():
        return run.execute()


@dataclass(kw_only=True)
class _PlantRun:
    """One run's state, all of it owned by the calling thread."""

    source: PlantFolder
    lines: LiveLines
    store: ResultStore
    sink: ResultSink
    dispatch: Dispatch[LineScoring]
    device: Device
    workers: int
    batch_size: int
    overlays: Callable[[str], Path] | None
    progress: CommittedProgress
    total: int | None
    current: dict[str, LineScoring] = field(default_factory=dict)
    ended: list[LineScoring] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    skipped_images: int = 0
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)

    def execute(self) -> PlantSummary:
        """Score everything, and mark how each line's run ended."""
        try:
            self._score_all()
            self.sink.close()
            self._end_all(RunStatus.FINISHED)
        except BaseException as error:
            status = RunStatus.FAILED if isinstance(error, Exception) else RunStatus.CANCELLED
            end_after(error, (self.sink.close, lambda: self._end_all(status)))
            raise
        self.progress.tell()
        return PlantSummary(
            lines=tuple(self.ended),
            skipped=self.skipped,
            skipped_images=self.skipped_images,
            problems=tuple(self.lines.problems),
            backbones=self.lines.engines,
            seconds=time.monotonic() - self.began,
        )

    def _score_all(self) -> None:
        try:
            for item in self.source.items():
                if (line := self._line_of(item)) is not None:
                    self.dispatch.put(line, item.item)
                self._take(everything=False)
            self._take(everything=True)
        except BaseException as error:
            if not isinstance(error, Exception):  # someone ends the run: keep what the workers have done, or are doing
                self.dispatch.cancel()
                self._take(everything=True)
            raise
        finally:
            self.dispatch.close()

    def _line_of(self, item: PlantItem) -> LineScoring | None:
        """The item's line at its live bundle; None, and a sentence, where it has none that can be used."""
        if item.line is None or item.place in self.skipped:
            remedy = "adapt the line, or name the folder as the registry does"
            self.skipped.setdefault(item.place, f"no registered line for the folder {item.place}: {remedy}")
            self.skipped_images += 1
            return None
        if (scoring := self.current.get(item.line)) is None:
            try:
                return self._begin(self.lines.open(item.line))
            except LinewiseError as error:
                self.skipped[item.place] = f"{item.line} is skipped: {error}"
                self.skipped_images += 1
                return None
        if (promoted := self.lines.promoted(scoring.live)) is None:
            return scoring
        self._take(everything=True)  # what is under way ends with the bundle it began with
        scoring.seconds = time.monotonic() - scoring.began
        self.ended.append(self.current.pop(item.line))  # its run is finished in the store once its rows are there
        self.lines.close(scoring.live)
        return self._begin(promoted)

    def _begin(self, live: LiveLine) -> LineScoring:
        bundle = live.bundle
        worker = ScoringWorker(
            bundle=bundle,
            engine=live.engine,
            head=live.head,
            known=self.store if self.store.was_used(bundle) else None,
            batch_size=1,
            overlays=self.overlays(live.line) / bundle.id[:16] if self.overlays is not None else None,
            limits=DEFAULT_LIMITS,
        )
        run_id = self.store.begin_run(bundle, self.source.name, device=self.device, workers=self.workers)
        self.current[live.line] = LineScoring(live, worker, run_id)
        return self.current[live.line]

    def _take(self, *, everything: bool) -> None:
        for line, outcome in self.dispatch.take(everything=everything):
            result = outcome.result
            line.tally.add(result, outcome.stored)
            if result.status is not FileStatus.SKIPPED:
                self.sink.put(result_row(line.live.bundle, line.run_id, result))
                self.rows += 1
            self.counts.update({"done": 1, result.status: 1, "flagged": result.flagged})
            self.progress.reached(self.rows, self._progress())
        self.progress.tell_when_due()

    def _progress(self) -> ScoringProgress:
        return ScoringProgress(
            done=self.counts["done"],
            skipped=self.counts[FileStatus.SKIPPED],
            flagged=self.counts["flagged"],
            unreadable=self.counts[FileStatus.UNREADABLE],
            total=self.total,
        )

    def _end_all(self, status: RunStatus) -> None:
        self.ended.extend(self.current.values())
        self.current.clear()
        for line in self.ended:
            files = line.tally.files
            self.store.finish_run(
                line.run_id,
                status,
                scored=files[FileStatus.SCORED],
                skipped=files[FileStatus.SKIPPED],
                flagged=line.tally.flagged_count,
                unreadable=files[FileStatus.UNREADABLE],
                seconds=time.monotonic() - line.began if line.seconds is None else line.seconds,
            )
