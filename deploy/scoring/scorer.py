"""Score a source: files or frames in, decisions out, in flat memory, and never twice the same.

On a CPU worker threads decode a few images in turn, then score them one by one, as a batch is slower there than its
images, and draw the flagged ones (decoding and onnxruntime let go of the GIL). For an accelerator they decode, and
batches are scored. The calling thread takes their results in the source's order and counts; the sink's thread commits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from itertools import chain
from pathlib import Path

from deploy.bundles.bundle import Bundle
from deploy.messages.publisher import Publisher
from deploy.results.store import ResultStore
from deploy.scoring.image_result import ImageResult, ImageView
from deploy.scoring.part_rule import PartRule
from deploy.scoring.reporting import OnProgress
from deploy.scoring.run import ScoringRun
from deploy.scoring.sources.source import ImageSource
from deploy.scoring.sources.watch import WatchedFolder
from deploy.scoring.tally import MAX_RECORDS, ScoringSummary
from deploy.scoring.worker import ImageScorer, ScoringWorker
from pipeline.imaging.images import ImageLimits, Opener, image_limits, open_image

OnResult = Callable[[ImageResult, ImageView | None], None]


def score_images(
    bundle: Bundle,
    engine: ImageScorer,
    source: ImageSource,
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
    remarks: Callable[[], Iterable[str]] = tuple,
    limits: ImageLimits | None = None,
    opener: Opener = open_image,
    publisher: Publisher | None = None,
    part_rule: PartRule | None = None,
) -> ScoringSummary:
    """Score every image of a source, and keep one row for each content in the store.

    A content that has a score of this bundle is not scored again: its file counts with the stored score. A file that
    cannot be decoded becomes a row with the reason, and is tried again in the next run. A live source is scored until
    someone stops it.

    Args:
        bundle: whose preprocessing and threshold hold.
        engine: has the bundle's head.
        source: of files or frames.
        store: where the rows go.
        device: what the engine runs on, for the run's row.
        head: the head's name in the engine; None: the line's.
        workers: threads that decode (and on a CPU score); None: one for each CPU this process may use.
        batch_size: images scored at once; 1 is best on a CPU. Above it decoding is apart from scoring, and short
            batches are padded, so that an accelerator sees one shape.
        overlays: folder for a JPEG with a heat map of each flagged image, named by bundle and content; None: none.
        on_progress: called from this thread, at most ten times a second and once at the end; also while a
            live source has nothing new.
        on_result: called from this thread for every image, in the source's order, with the view where it was scored.
        total: how many images there are, if the caller knows; only handed on to `on_progress`.
        remarks: asked for what someone should read now, besides what the source says.
        limits: on the size of images; None: what this machine is set to.
        opener: reads a file's header and says how its pixels are decoded.
        publisher: tells others of the new results; None: nobody is told.
        part_rule: groups images into parts that are told as one; None: each image is told by itself.

    Returns:
        The run in numbers, and the files to look at.

    Raises:
        ConfigError: `workers` or `batch_size` is below one.
        StorageError: the source cannot be read, or an overlay or a row cannot be written. Committed rows stay, and the
            next run goes on from there.
        KeyboardInterrupt: (and whatever else ends a program) once the rows of finished images are committed and the
            run is marked as cancelled.
    """
    items = source.items()
    try:
        first = next(items, None)  # a source that cannot be read is an error before it is a run
        worker = ScoringWorker(
            bundle=bundle,
            engine=engine,
            head=head or bundle.manifest.line,
            known=store if isinstance(source, WatchedFolder) or store.was_used(bundle) else None,
            overlays=overlays / bundle.id[:16] if overlays is not None else None,
            limits=limits or image_limits(),
            opener=opener,
            of_parts=part_rule is not None,
        )
        run = ScoringRun(
            store,
            source.name,
            device=device,
            workers=workers,
            batch_size=batch_size,
            on_progress=on_progress,
            on_result=None if on_result is None else lambda _, result, view: on_result(result, view),
            total=total,
            remarks=lambda: [*source.remarks, *remarks()],
            publisher=publisher,
            part_rule=part_rule,
        )

        def feed() -> None:
            line = run.begin(worker)
            for item in chain([first], items):
                if item is None:
                    run.use_pause()
                else:
                    run.put(line, item)
                    run.take()

        run.execute(feed)
    finally:
        if isinstance(items, Generator):
            items.close()  # lets go of cameras and their threads now, also where a traceback keeps the generator
    return _summary(run)


def _summary(run: ScoringRun) -> ScoringSummary:
    (line,) = run.lines
    tally, duplicates = line.tally, run.duplicates
    return ScoringSummary(
        run_id=line.run_id,
        line=line.line,
        version=line.version,
        tally=tally,
        duplicates=tuple([*tally.moved, *duplicates.named][:MAX_RECORDS]),
        duplicate_count=tally.moved_count + duplicates.count,
        seconds=line.seconds or 0.0,
        remarks=run.remarks,
        parts=None if line.parts is None else line.parts.tally.shown,
    )
