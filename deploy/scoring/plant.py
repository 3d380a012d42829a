"""Score a whole plant in one process: images of any lines in, each line's decisions out, bundles changed on the way.

A line is opened when its first image comes. Between images its registry pointer is looked at; after a promotion the
images that are under way are finished with the old bundle, and all later ones are scored with the new one. A line that
is registered meanwhile is scored from the next image on; a watched folder gives the earlier ones again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.bundles.registry import Registry
from deploy.engine.runtime import Device, ResolvedDevice
from deploy.results.store import ResultStore, RunStatus
from deploy.scoring.dispatch import Batched, Dispatch, Fused
from deploy.scoring.live_lines import LiveLine, LiveLines
from deploy.scoring.passed_over import PassedOver
from deploy.scoring.plant_summary import LineScoring, PlantSummary
from deploy.scoring.records import FileStatus, ImageResult, ImageView, ScoringProgress
from deploy.scoring.reporting import CommittedProgress, OnProgress, end_after
from deploy.scoring.run import result_row
from deploy.scoring.scorer import single_threaded_opencv
from deploy.scoring.sink import ResultSink
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.plant_folder import PlantFolder, PlantItem
from deploy.scoring.sources.watch import WatchedFolder
from deploy.scoring.worker import ScoringWorker
from pipeline.errors import ConfigError, LinewiseError
from pipeline.imaging.images import DEFAULT_LIMITS, Opener, open_image

OnPlantResult = Callable[[LineScoring, ImageResult, ImageView | None], None]

_TOLD = 10  # folders that are named while a run goes on; its end names all of them


def score_plant(
    source: FolderSource | WatchedFolder,
    registry: Registry,
    store: ResultStore,
    device: ResolvedDevice,
    *,
    workers: int | None = None,
    batch_size: int = 1,
    overlays: Callable[[str], Path] | None = None,
    on_progress: OnProgress | None = None,
    on_result: OnPlantResult | None = None,
    total: int | None = None,
    opener: Opener = open_image,
) -> PlantSummary:
    """Score `<line...>/**` of a folder with each line's live bundle; one row for each content and bundle in the store.

    Args:
        source: the folder of line folders, whose names may hold slashes. A watched one is scored until it is stopped.
        registry: where the lines are live.
        store: where the rows go.
        device: where all engines run.
        workers: threads that decode (and on a CPU score); None: one for each CPU this process may use.
        batch_size: images of mixed lines that an accelerator takes at once; above 1 decoding is apart from scoring.
        overlays: a line's folder for pictures of flagged images; None: no pictures.
        on_progress: called from this thread, at most ten times a second and once at the end; of a watched folder
            with remarks on what cannot be scored.
        on_result: called from this thread for every image, with its line at its bundle and the view where it was
            scored: on a CPU in the order of the folder, in batches as they are ready.
        total: how many images there are, if the caller knows.
        opener: reads a file's header and says how its pixels are decoded.

    Raises:
        ConfigError: `workers` or `batch_size` is below one.
        StorageError: the folder cannot be read, or an overlay or a row cannot be written. Committed rows stay.
        KeyboardInterrupt: once the rows of finished images are committed and the runs are marked as cancelled.
    """
    workers = workers if workers is not None else len(os.sched_getaffinity(0))
    if workers < 1 or batch_size < 1:
        raise ConfigError("at least 1 worker and batches of 1", f"{workers} and {batch_size}", "leave them out")
    dispatch: Dispatch[LineScoring] = Fused(workers) if batch_size == 1 else Batched(workers, batch_size)
    sink, remarks = ResultSink(store), list[str]()
    plant = PlantFolder(source)
    run = _PlantRun(
        source=plant,
        passed_over=PassedOver(plant),
        lines=LiveLines(registry, device),
        store=store,
        sink=sink,
        dispatch=dispatch,
        device=device.device,
        workers=workers,
        batch_size=batch_size,
        overlays=overlays,
        progress=CommittedProgress(sink, on_progress, total, lambda: remarks),
        on_result=on_result,
        remarks=remarks,
        total=total,
        opener=opener,
    )
    with single_threaded_opencv():
        return run.execute()


@dataclass(kw_only=True)
class _PlantRun:
    """One run's state, all of it owned by the calling thread."""

    source: PlantFolder
    passed_over: PassedOver
    lines: LiveLines
    store: ResultStore
    sink: ResultSink
    dispatch: Dispatch[LineScoring]
    device: Device
    workers: int
    batch_size: int
    overlays: Callable[[str], Path] | None
    progress: CommittedProgress
    on_result: OnPlantResult | None
    remarks: list[str]
    total: int | None
    opener: Opener
    current: dict[str, LineScoring] = field(default_factory=dict)
    ended: list[LineScoring] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
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
        self.progress.reached(self.rows, self._progress())
        self.progress.tell()
        return PlantSummary(
            lines=tuple(self.ended),
            skipped=self.passed_over.sentences(self.unusable),
            skipped_images=self.passed_over.images,
            problems=tuple(self.lines.problems),
            backbones=self.lines.engines,
            seconds=time.monotonic() - self.began,
        )

    def _score_all(self) -> None:
        try:
            self.source.know(self.lines.names())
            for item in self.source.items():
                if item is None:
                    self._use_the_pause()
                elif (line := self._line_of(item)) is not None:
                    self.dispatch.put(line, item.item)
                else:
                    self.passed_over.add(item)
                self._take(everything=item is None)  # what comes next may be long in coming
                self.source.know(self.lines.names())
            self._take(everything=True)
        except BaseException as error:
            if not isinstance(error, Exception):  # someone ends the run: keep what the workers have done, or are doing
                self.dispatch.cancel()
                self._take(everything=True)
            raise
        finally:
            self.dispatch.close()

    def _use_the_pause(self) -> None:
        """A watched folder has nothing more: take up lines that became usable, and say which did not."""
        self.passed_over.take_up(lambda line: line in self.current or self.lines.is_untried(line))
        left_out = list(self.passed_over.sentences(self.unusable).values())
        if len(left_out) > _TOLD:
            left_out[_TOLD:] = [f"{len(left_out) - _TOLD} more folders are left out."]
        self.remarks[:] = [*self.source.remarks, *left_out, *self.lines.problems]

    def _line_of(self, item: PlantItem) -> LineScoring | None:
        """The item's line at its live bundle; None where it has none that can be used."""
        if item.line is None:
            return None
        if (scoring := self.current.get(item.line)) is None:
            return self._open(item.line)
        if (promoted := self.lines.promoted(scoring.live)) is None:
            return scoring
        self._take(everything=True)  # what is under way ends with the bundle it began with
        scoring.seconds = time.monotonic() - scoring.began
        self.ended.append(self.current.pop(item.line))  # its run is finished in the store once its rows are there
        self.lines.close(scoring.live)
        return self._begin(promoted)

    def _open(self, line: str) -> LineScoring | None:
        if not self.lines.is_untried(line):
            return None  # what kept it from being opened is still so
        try:
            live = self.lines.open(line)
        except LinewiseError as error:
            self.unusable[line] = f"{line} is skipped: {error}"
            return None
        self.unusable.pop(line, None)
        return self._begin(live)

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
            opener=self.opener,
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
            if self.on_result is not None:
                self.on_result(line, result, outcome.view)
        self.progress.tell_when_due()

    def _progress(self) -> ScoringProgress:
        return ScoringProgress(
            done=self.counts["done"],
            skipped=self.counts[FileStatus.SKIPPED],
            flagged=self.counts["flagged"],
            unreadable=self.counts[FileStatus.UNREADABLE],
            total=None if self.total is None else self.total - self.passed_over.images,
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
