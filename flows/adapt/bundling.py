"""An adapted line becomes a bundle: exported, proved to score as torch does, registered."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.bundles.bundle_arrays import kinds_file
from deploy.bundles.learned_parts import learned_file
from deploy.bundles.manifest import (
    BANK_SOURCES,
    BY_DEFAULT,
    FIRST_LOOK,
    HEAD,
    KINDS,
    LACKS_META_MODEL,
    LEARNED,
    REGION,
    SUPPORT_FOLDER,
    BackboneRecord,
    BundleDraft,
    FirstLookRecord,
    KindsRecord,
    LearnerRecord,
    LineageRecord,
    ParityRecord,
    RegionRecord,
    SupportRecord,
)
from deploy.bundles.registry import Registry
from deploy.engine.limits import available_cpus
from deploy.engine.parity import Parity
from deploy.engine.runtime import ScoringEngine
from deploy.engine.two_looks import first_view
from deploy.exporting.torch_to_onnx import check_parity, export_head
from flows.adapt.learned_images import learned_images
from flows.adapt.learner_choice import ChosenMetaModel, by_default, others_help
from flows.adapt.line_first_look import LineFirstLook
from flows.adapt.line_kinds import line_kinds
from flows.adapt.request import AdaptRequest
from flows.open_backbone import OpenBackbone
from flows.taken_up import TakeUpReport
from flows.views import AdaptedLine, View, drawn_evenly
from pipeline.augmentations import ROTATIONS
from pipeline.calibration import Threshold
from pipeline.episodes import SupportSet
from pipeline.imaging.images import read_size, require_image
from pipeline.kinds import LearnedKinds
from pipeline.learner import AnomalyHead
from pipeline.likeness import Likeness, likeness_of
from pipeline.patch_samples import HELD
from pipeline.product_lines.lines import ImageRecord
from pipeline.promise import Promise
from pipeline.settings import Settings
from pipeline.storage import sha256_file
from pipeline.support_distance import directions_of, distance_bound
from pipeline.tile_grid import TileGrid

_PROVEN = 32  # images that the exported graphs are compared with torch on
_FEWEST = 8  # pictures, and images looked at for likeness, however many tiles an image is seen as
_PICTURES = 256  # good images in a bundle: those that most rows of the bank are from


def add_bundle(
    request: AdaptRequest,
    settings: Settings,
    adapted: AdaptedLine,
    threshold: Threshold,
    promise: Promise,
    chosen: ChosenMetaModel | None,
    left_out: dict[str, int],
    taken_up: TakeUpReport | None,
    by_verdict: frozenset[Path],
    first: LineFirstLook | None = None,
) -> tuple[Bundle, Parity]:
    """Export the heads, prove that the exported graphs score the support as torch does, and register the bundle.

    Raises:
        ParityError: they do not.
        ImageError: an image can no longer be used.
        StorageError: the home cannot be written.
    """
    view, registry = adapted.view, Registry(settings.home)
    at_once = 1 if view.tiles is None else view.tiles.count
    proven = _spread((*view.good, *view.defects), max(2, _PROVEN // at_once))
    images = np.stack([require_image(record.path, view.preprocess).pixels for record in proven])
    likeness = _likeness(view, request.seed)
    named = line_kinds(view, adapted.head, threshold.pixel)
    contents, thumbnails = learned_images(view)
    with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
        path = Path(scratch) / HEAD
        templates = settings.templates
        parity = _export(request.line, view.backbone, adapted.head, view.support, images, path, templates, view.tiles)
        files: dict[str, bytes | Path] = {HEAD: path, BANK_SOURCES: _npy(_bank_sources(adapted))}
        files[LEARNED] = learned_file(thumbnails)
        record = None
        if first is not None:
            files[FIRST_LOOK] = Path(scratch) / FIRST_LOOK
            record = _first_look(request.line, first, images, Path(scratch) / FIRST_LOOK, templates)
        if view.region is not None:
            files[REGION] = view.region.to_png()
        if named is not None:
            files[KINDS] = kinds_file(named.kinds)
        for index in _pictured(adapted.head.bank_sources, at_once):
            pixels = require_image(view.good[index].path, view.preprocess).pixels
            files[f"{SUPPORT_FOLDER}/{index:03d}.jpg"] = _jpeg(pixels)
        whose = contents, left_out, taken_up, by_verdict
        draft = _draft(request, registry, adapted, threshold, promise, likeness, chosen, parity, named, *whose)
        return registry.add_next(draft.model_copy(update={"first_look": record}), files), parity


def _first_look(
    line: str, first: LineFirstLook, images: NDArray[np.uint8], path: Path, templates: Path
) -> FirstLookRecord:
    """What the manifest says of the first look, whose head is written to `path` and seen to score as torch does."""
    spec = first.backbone.spec
    small = np.stack([first_view(image, spec.height, spec.width) for image in images])
    parity = _export(line, first.backbone, first.head, first.support, small, path, templates)
    return FirstLookRecord(backbone=_backbone(first.backbone), spec=spec, look=first.look, parity=_parity(parity))


def _export(
    line: str,
    backbone: OpenBackbone,
    head: AnomalyHead,
    support: SupportSet,
    images: NDArray[np.uint8],
    path: Path,
    templates: Path,
    tiles: TileGrid | None = None,
) -> Parity:
    """A head as an ONNX graph at `path`, and how near its scores of the support's images are to torch's."""
    seen = np.stack([image if tiles is None else tiles.cut(image)[0] for image in (images[0], images[-1])])
    examples = [torch.from_numpy(level) for level in backbone.extractor.extract(seen)]
    numbers = torch.zeros(len(seen), dtype=torch.int64)  # of the tiles: the first
    exported = export_head(
        head, examples, path, directions=directions_of(support), tiles=numbers, template_folder=templates
    )
    engine = ScoringEngine(backbone.artefact, "cpu", threads=available_cpus())
    engine.add_head(line, path, exported.sha256, tiles=tiles)
    return check_parity(backbone.module, head, engine, line, images, tiles=tiles)


def _backbone(backbone: OpenBackbone) -> BackboneRecord:
    spec, graph = backbone.spec, backbone.artefact.onnx_sha256
    return BackboneRecord(name=spec.name, fingerprint=spec.fingerprint, onnx_sha256=graph)


def _parity(parity: Parity) -> ParityRecord:
    return ParityRecord(
        max_score_error=parity.max_score_error,
        max_map_error=parity.max_map_error,
        tolerance=parity.tolerance,
        images=parity.images,
    )


def _draft(
    request: AdaptRequest,
    registry: Registry,
    adapted: AdaptedLine,
    threshold: Threshold,
    promise: Promise,
    likeness: Likeness,
    chosen: ChosenMetaModel | None,
    parity: Parity,
    named: LearnedKinds | None,
    good: tuple[str, ...],
    left_out: dict[str, int],
    taken_up: TakeUpReport | None,
    by_verdict: frozenset[Path],
) -> BundleDraft:
    """All that the manifest says beside its files."""
    view, learner, backbone = adapted.view, adapted.learner, adapted.view.backbone
    return BundleDraft(
        line=request.line,
        version=registry.new_version(request.line),
        learner=LearnerRecord(
            name=learner.name,
            config={
                **learner.settings(),
                "augmentations": list(view.config.augmentations),
                BY_DEFAULT: by_default(request),
                LACKS_META_MODEL: chosen is None and others_help(request, len(view.good), len(view.defects)),
            },
            meta_model=chosen.origin if chosen else None,
        ),
        backbone=_backbone(backbone),
        spec=backbone.spec,
        preprocess=view.preprocess,
        tiles=view.tiles,
        support=SupportRecord(
            good=good,
            defects=tuple(sha256_file(record.path) for record in view.defects),
            masks=sum(record.mask_path is not None for record in view.defects),
            left_out={reason: count for reason, count in left_out.items() if count},
            taken_up=tuple(image.sha256 for image in taken_up.taken) if taken_up else (),
            not_taken_up=tuple(image.sha256 for image in taken_up.left_out) if taken_up else (),
            good_by_verdict=sum(record.path in by_verdict for record in view.good),
            defects_by_verdict=sum(record.path in by_verdict for record in view.defects),
        ),
        threshold=threshold,
        promise=promise,
        likeness=likeness,
        region=None if view.region is None else RegionRecord(share=view.region.share),
        kinds=None if named is None else _kinds(named, view.defects),
        choices=adapted.choices,
        parity=_parity(parity),
        lineage=LineageRecord(
            training_lines=chosen.model.lines if chosen else (),
            parent=registry.live_version(request.line) if request.line in registry.lines() else None,
            seed=request.seed,
        ),
    )


def _kinds(learned: LearnedKinds, defects: Sequence[ImageRecord]) -> KindsRecord:
    kinds, images = learned.kinds, Counter(record.kind for record in defects)
    return KindsRecord(
        names=kinds.names,
        images=tuple(images[name] for name in kinds.names),
        temperature=kinds.temperature,
        none_from=kinds.none_from,
        confusion=tuple(tuple(row) for row in learned.confusion.tolist()),
    )


def _likeness(view: View, seed: int) -> Likeness:
    """What the line's images look like: the good ones that are held in full, as many defective ones, all sizes."""
    most = HELD if view.tiles is None else max(_FEWEST, HELD // view.tiles.count)

    def drawn(records: Sequence[ImageRecord]) -> list[ImageRecord]:
        return drawn_evenly(records, most, seed)

    good, defective = (
        [require_image(record.path, view.preprocess) for record in records]
        for records in (drawn(view.good[: view.support.k]), drawn(view.defects))
    )
    return likeness_of(
        good,
        defective,
        distance_bound(view.support),
        sizes=[read_size(record.path) for record in (*view.good, *view.defects)],
        any_angle=any(name in ROTATIONS for name in view.config.augmentations),
    )


def _spread(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """At most `count` of the records, the first and the last among them, evenly over all."""
    if len(records) <= count:
        return list(records)
    return [records[i] for i in np.linspace(0, len(records) - 1, count).astype(int)]


def _pictured(bank_sources: torch.Tensor, tiles: int = 1) -> list[int]:
    """Numbers of the good images to show beside what was compared with them, ascending."""
    count = _PICTURES if tiles == 1 else max(_FEWEST, _PICTURES // tiles)
    rows = torch.bincount(bank_sources[:, 0])
    most = rows.argsort(descending=True, stable=True)[:count]
    return sorted(int(index) for index in most if rows[index])


def _bank_sources(adapted: AdaptedLine) -> NDArray[np.int64]:
    """(N, 4) as in `AnomalyHead`; of images that are seen as tiles, rows and columns are those of the whole image."""
    sources: NDArray[np.int64] = adapted.head.bank_sources.numpy()
    if (tiles := adapted.view.tiles) is None:
        return sources
    image, augmentation, row, column = sources.T
    return np.stack([image, augmentation, *tiles.on_canvas(row, column, adapted.view.support.good[-1].shape[-1])], 1)


def _npy(array: NDArray[np.int64]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array.astype(np.int32), allow_pickle=False)
    return buffer.getvalue()


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=90, colorspace="RGB")
