"""Score a whole plant in one process: images of any lines in, each line's decisions out, bundles changed on the way.

A line is opened when its first image comes. Between images its registry pointer is looked at; after a promotion the
images that are under way are finished with the old bundle, and all later ones are scored with the new one. A line that
is registered meanwhile is scored from the next image on; a watched folder gives the earlier ones again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.bundles.registry import Registry
from deploy.engine.devices import ResolvedDevice
from deploy.messages.publisher import Publisher
from deploy.results.store import ResultStore
from deploy.scoring.line_scoring import LineScoring
from deploy.scoring.live_lines import LiveLine, LiveLines
from deploy.scoring.part_rule import PartRule
from deploy.scoring.passed_over import PassedOver
from deploy.scoring.plant_summary import PlantSummary
from deploy.scoring.reporting import OnProgress
from deploy.scoring.run import OnLineResult, ScoringRun
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.plant_folder import PlantFolder, PlantItem
from deploy.scoring.sources.watch import WatchedFolder
from deploy.scoring.worker import ScoringWorker
from pipeline.errors import LinewiseError
from pipeline.imaging.images import Opener, image_limits, open_image

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
    on_result: OnLineResult | None = None,
    total: int | None = None,
    opener: Opener = open_image,
    publisher: Publisher | None = None,
    on_unregistered: Callable[[str], None] | None = None,
    part_rule: PartRule | None = None,
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
            with remarks on what cannot be scored, of another on what is left out of it.
        on_result: called from this thread for every image, with its line at its bundle and the view where it was
            scored, in the order of the folder.
        total: how many images there are, if the caller knows.
        opener: reads a file's header and says how its pixels are decoded.
        publisher: tells others of the new results; None: nobody is told.
        on_unregistered: called from this thread for every image of no registered line, with the folder that might be
            one's.
        part_rule: groups each line's images into parts by their paths below the line's folder; see `ScoringRun`.

    Raises:
        ConfigError: `workers` or `batch_size` is below one.
        StorageError: the folder cannot be read, or an overlay or a row cannot be written. Committed rows stay.
        KeyboardInterrupt: once the rows of finished images are committed and the runs are marked as cancelled.
    """
    plant, began = PlantFolder(source), time.monotonic()
    remarks = plant.remarks
    run = ScoringRun(
        store,
        plant.name,
        device=device.device,
        workers=workers,
        batch_size=batch_size,
        on_progress=on_progress,
        on_result=on_result,
        total=total,
        remarks=lambda: remarks,
        publisher=publisher,
        part_rule=part_rule,
    )
    feeder = _PlantFeeder(
        source=plant,
        passed_over=PassedOver(plant),
        lines=LiveLines(registry, device),
        run=run,
        store=store,
        overlays=overlays,
        remarks=remarks,
        total=total,
        opener=opener,
        on_unregistered=on_unregistered,
    )
    run.execute(feeder.feed)
    return PlantSummary(
        lines=tuple(run.lines),
        skipped=feeder.passed_over.sentences(feeder.unusable),
        skipped_images=feeder.passed_over.images,
        problems=tuple(feeder.lines.problems),
        backbones=feeder.lines.engines,
        seconds=time.monotonic() - began,
        remarks=run.remarks,
    )


@dataclass(kw_only=True)
class _PlantFeeder:
    """Gives a run the images of every line, each line at what is live when an image comes."""

    source: PlantFolder
    passed_over: PassedOver
    lines: LiveLines
    run: ScoringRun
    store: ResultStore
    overlays: Callable[[str], Path] | None
    remarks: list[str]
    total: int | None
    opener: Opener
    on_unregistered: Callable[[str], None] | None
    current: dict[str, LineScoring] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)

    def feed(self) -> None:
        """Hand over everything, and have it counted on the way."""
        self.source.know(self.lines.names())
        for item in self.source.items():
            if item is None:
                self.run.use_pause()
                self._use_the_pause()
            elif (line := self._line_of(item)) is not None:
                self.run.put(line, item.item)
            else:
                self.passed_over.add(item)
                self._tell_unregistered(item)
            if self.total is not None:
                self.run.total = self.total - self.passed_over.images
            self.run.take()
            self.source.know(self.lines.names())

    def _tell_unregistered(self, item: PlantItem) -> None:
        line, place = self.source.find(item.folder)
        if self.on_unregistered is not None and line is None and place != ".":
            self.on_unregistered(place)

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
        if (promoted := self.lines.promoted(scoring.bundle)) is None:
            return scoring
        self.run.end(scoring)  # what is under way ends with the bundle it began with
        self.lines.close(scoring.bundle)
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
            known=self.store if self.source.is_watched or self.store.was_used(bundle) else None,
            overlays=self.overlays(live.line) / bundle.id[:16] if self.overlays is not None else None,
            limits=image_limits(),
            opener=self.opener,
            of_parts=self.run.tells_parts,
        )
        self.current[live.line] = self.run.begin(worker, live.line)
        return self.current[live.line]
