"""Adaptation as a job: a folder with a few images in, a registered, verified bundle with a calibrated threshold out."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.bundles.bundle import Bundle
from deploy.bundles.line_folder import slug
from deploy.bundles.registry import Registry
from deploy.engine.parity import Parity
from flows.adapt.bundling import add_bundle
from flows.adapt.from_store import KnownLine, know_line
from flows.adapt.learner_choice import choose_meta_model, chooses_size, known_size, learner_for, learner_with
from flows.adapt.line_alignment import line_alignment
from flows.adapt.line_first_look import line_first_look, refuse_cascade, with_alone
from flows.adapt.line_images import LineImages, choose_images
from flows.adapt.line_region import line_region, require_cells
from flows.adapt.line_tiles import line_tiles
from flows.adapt.request import AdaptRequest
from flows.gate import job as gate_job
from flows.gate.job import GateResult
from flows.gate.request import GateRequest
from flows.held_images import most_images
from flows.line_threshold import least_area, line_threshold
from flows.open_backbone import OpenBackbone, open_backbone
from flows.progress import OnProgress, Progress, ignore_progress
from flows.taken_up import TakeUpReport, take_up_into
from flows.unlabelled import Unlabelled, draw_unlabelled, images_below, thumbnails_of
from flows.views import (
    ANY_ANGLE,
    DEFAULT_SIZE,
    SUPPORT,
    adapt_at_best_size,
    candidate_backbones,
    candidate_sizes,
    within_time,
)
from model_zoo.learning.region_learner import RegionLearner
from pipeline.calibration import Threshold
from pipeline.errors import ConfigError
from pipeline.imaging.images import read_file
from pipeline.learner import Learner
from pipeline.meta_model import MetaModel
from pipeline.product_lines.lines import ImageRecord
from pipeline.region_of_interest import RegionOfInterest
from pipeline.settings import Device, Settings
from pipeline.tile_grid import TileGrid

_STAGE = "adapt"
_TELL_EVERY = 10  # images


@dataclass(frozen=True, kw_only=True)
class AdaptResult:
    """A registered bundle, whether it is live, how many images it rests on, and how long adaptation took.

    `taken_up` says what became of unlabelled images, None: there were none.

    `gate` says what the gate saw and why it holds the version; None: none was asked.

    `remarks` are sentences on what is left out and on what is odd, in the words of `linewise lines check`.

    `seconds` runs from the first support image read to the verified bundle on disk; opening the backbone, which a
    serving process does once, is `opening_seconds`. `peak_mib` is the most memory that the process held until then.
    """

    bundle: Bundle
    live: bool
    good: int
    defects: int
    threshold: Threshold
    parity: Parity
    remarks: tuple[str, ...]
    seconds: float
    opening_seconds: float
    taken_up: TakeUpReport | None = None
    peak_mib: float = 0.0
    gate: GateResult | None = None


def run(request: AdaptRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> AdaptResult:
    """Adapt to the line and register the bundle.

    Raises:
        LineError, ImageError: the folder cannot be used, or an image of it no longer.
        ConfigError: a meta-learner without its meta-model, or one for another backbone; fewer defects than the share of
            missed ones asks for; or an oblong input for a learner that takes none.
        ParityError: the exported head does not score as the adapted one does.
        BundleError, StorageError: as the sentence says.
    """
    slug(request.line)  # a name that cannot be used is refused before the work, not after it
    opening = time.perf_counter()
    steps = ("open the backbone", "adapt", "export", "register")

    def tell(done: int, remark: str = "", detail: str = "") -> None:
        stage = f"{_STAGE}: {steps[min(done, 3)]}{detail}"
        on_progress(Progress(stage=stage, done=done, total=len(steps), remark=remark))

    def tell_read(read: int, of: int) -> None:
        if read == of or read % _TELL_EVERY == 0:
            tell(1, detail=f", {read} of {of} images read")

    def tell_looked(count: int) -> None:
        if count % _TELL_EVERY == 0:
            tell(0, detail=f", {count} images looked at")

    tell(0)
    known = know_line(request, settings)
    chosen = choose_meta_model(request, settings)
    backbones = [open_backbone(request.backbone, request.size or known_size(chosen), settings)]
    learner = learner_with(request, chosen, backbones[0].spec)
    start = time.perf_counter()
    images = choose_images(request, known.line, known.left_out, learner, tell_looked)
    learner, chosen = learner_for(
        request, settings, backbones[0].spec, (learner, chosen), good=len(images.good), defects=len(images.defects)
    )
    meta = chosen.model if chosen else None
    region, images = line_region(request, known.line.root, images)
    tiles, images = line_tiles(request, learner, backbones[0], region, images)
    alignment, images = line_alignment(request, region, images)
    looking = time.perf_counter() - start
    least_area(request, images.labelled)  # one as large as the image is refused before the work, too
    backbones = within_time(
        _candidates(request, settings, learner, meta, backbones[0], images.labelled, region, tiles),
        request.most_ms,
        1 if tiles is None else tiles.count,
    )
    learner = _within(region, learner, backbones, tiles)
    unlabelled = _unlabelled(request, known, backbones[0], images, tiles)
    said = (*images.remarks, *unlabelled.remarks, *([chosen.remark] if chosen and chosen.remark else []))
    for remark in said:
        tell(0, remark)
    start = time.perf_counter() - looking  # which is of adaptation, and opening further backbones is not

    tell(1)
    config = ANY_ANGLE if request.any_angle else SUPPORT
    adapted = adapt_at_best_size(
        learner,
        backbones,
        images.good,
        images.defects,
        config=config,
        white_level=images.white_level,
        bayer=request.bayer,
        region=region,
        alignment=alignment,
        tiles=None if tiles is None else (tiles.rows, tiles.columns),
        seed=request.seed,
        on_read=tell_read,
    )
    taken_up = None
    if unlabelled.records:
        tell(1, detail=f", take up {len(unlabelled.records)} unlabelled images")
        adapted, taken_up = take_up_into(adapted, unlabelled.records, seed=request.seed)
    # Other lines' calibration is of supports without take-up.
    pooled = meta.calibration if meta and not (taken_up and taken_up.taken) else None
    adapted = with_alone(adapted) if request.cascade else adapted
    threshold, promise = line_threshold(
        request, adapted.head, adapted.view, pooled, adapted.alone, request.missed_defects
    )
    first, on_first = line_first_look(request, adapted, backbones, threshold)
    tell(2)
    bundle, parity = add_bundle(
        request, settings, adapted, threshold, promise, chosen, images.left_out, taken_up, known.by_verdict, first
    )
    on_images = (*(likeness.support_remarks() if (likeness := bundle.manifest.likeness) else ()), *on_first)
    tell(3, " ".join(on_images))
    gate = _promote(request, settings, bundle.manifest.version, on_progress) if request.promote else None
    tell(4)
    return AdaptResult(
        bundle=bundle,
        live=Registry(settings.home).live_version(request.line) == bundle.manifest.version,
        good=len(images.good),
        defects=len(images.defects),
        threshold=threshold,
        parity=parity,
        remarks=(*said, *on_images),
        seconds=time.perf_counter() - start,
        opening_seconds=start - opening,
        taken_up=taken_up,
        peak_mib=_peak_mib(),
        gate=gate,
    )


def _promote(request: AdaptRequest, settings: Settings, version: str, on_progress: OnProgress) -> GateResult | None:
    """Make the version live, through the gate if the request asks for it: what the gate says then."""
    if request.gate:
        where = Device.CPU  # as all of adaptation, which does not wait in the queue for the GPU
        asked = GateRequest(line=request.line, candidate=version, images=request.images, device=where)
        return gate_job.run(asked, settings, on_progress)
    Registry(settings.home).promote(request.line, version)
    return None


def _within(
    region: RegionOfInterest | None, learner: Learner, backbones: Sequence[OpenBackbone], tiles: TileGrid | None
) -> Learner:
    """The learner as it looks at a region, which must have enough cells at every input size; None: at all."""
    if region is None:
        return learner
    require_cells(region, [backbone.spec for backbone in backbones], tiles)
    return RegionLearner(learner)


def _unlabelled(
    request: AdaptRequest, known: KnownLine, backbone: OpenBackbone, images: LineImages, tiles: TileGrid | None
) -> Unlabelled:
    candidates = [images_below(request.unlabelled)] if request.unlabelled is not None else []
    candidates += [known.production] if known.production is not None else []
    if not candidates:
        return Unlabelled(records=(), remarks=())
    line, limit, preprocess = known.line, request.max_unlabelled, backbone.preprocess(images.white_level, request.bayer)
    if tiles is not None:
        limit = min(limit, most_images(backbone.spec, tiles.count))
    records = (*line.train_good, *line.test_good, *line.defects)
    contents = (read_file(record.path).sha256 for record in records)
    labelled = known.judged.union(content for content in contents if content is not None)
    shown = thumbnails_of(images.labelled, preprocess)
    return draw_unlabelled(
        candidates, labelled, preprocess, line=line.name, limit=limit, seed=request.seed, shown=shown
    )


def _peak_mib() -> float:
    """The most memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # of what the system counts in, bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024**2


def _candidates(
    request: AdaptRequest,
    settings: Settings,
    learner: Learner,
    meta: MetaModel | None,
    first: OpenBackbone,
    records: Sequence[ImageRecord],
    region: RegionOfInterest | None,
    tiles: TileGrid | None,
) -> list[OpenBackbone]:
    """The backbones that the line may choose: at several input sizes, or of fewer networks; `first` is open already.

    Tiles are of one size: what a larger one shows, more of them do.
    """
    refuse_cascade(request, region, learner.name, chooses_size=chooses_size(learner, meta))
    if not chooses_size(learner, meta):
        if request.oblong:
            needed = "a learner that chooses its input size for --oblong, of no meta-model or one of the default size"
            raise ConfigError(needed, learner.name, "take auto or shared_direction, or leave --oblong out")
        return [first]
    names = candidate_backbones(request.backbone, learner, first.spec)
    side = DEFAULT_SIZE if tiles is not None and request.size is None else request.size
    sizes = candidate_sizes(records, side=side, oblong=request.oblong)
    known = first.spec.name, first.spec.size
    asked = ((name, size) for name in names for size in sizes)
    return [first if one == known else open_backbone(*one, settings) for one in asked]
