"""Adaptation as a job: a folder with a few images in, a registered, verified bundle with a calibrated threshold out."""

from __future__ import annotations

import dataclasses
import io
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from deploy.bundles.bundle import Bundle
from deploy.bundles.line_folder import slug
from deploy.bundles.manifest import (
    BANK_SOURCES,
    HEAD,
    SUPPORT_FOLDER,
    BackboneRecord,
    BundleDraft,
    LearnerRecord,
    LineageRecord,
    ParityRecord,
    SupportRecord,
)
from deploy.bundles.registry import Registry
from deploy.engine.limits import available_cpus
from deploy.engine.parity import Parity
from deploy.engine.runtime import ScoringEngine
from deploy.exporting.torch_to_onnx import check_parity, export_head
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.open_backbone import OpenBackbone, open_backbone
from flows.progress import OnProgress, Progress, ignore_progress
from flows.views import ANY_ANGLE, DEFAULT_SIZE, SUPPORT, Adapted, adapt_to_best, candidate_sizes, view_of
from model_zoo.learner_table import learner_entry, make_learner
from model_zoo.learning.guard import calibration_for
from model_zoo.learning.task_learner import TaskLearner
from model_zoo.shipped import SHIPPED, shipped_meta_model
from pipeline.calibration import Threshold, calibrate
from pipeline.episodes import SupportSet
from pipeline.errors import BundleError, ConfigError
from pipeline.imaging.files import sha256_file
from pipeline.imaging.images import require_image
from pipeline.imaging.white_level import suggest_white_level
from pipeline.learner import AnomalyHead, Learner
from pipeline.meta_model import MetaModel, load_meta_model
from pipeline.product_lines.lines import ImageRecord, load_line
from pipeline.settings import Settings

MAX_SUPPORT = 16
_STAGE = "adapt"


@dataclass(frozen=True, kw_only=True)
class AdaptResult:
    """A registered bundle, whether it is live, how many images it rests on, and how long adaptation took.

    `seconds` runs from the first support image read to the verified bundle on disk; opening the backbone, which a
    serving process does once, is `opening_seconds`.
    """

    bundle: Bundle
    live: bool
    good: int
    defects: int
    threshold: Threshold
    parity: Parity
    seconds: float
    opening_seconds: float


def run(request: AdaptRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> AdaptResult:
    """Adapt to the line and register the bundle.

    Raises:
        LineError, ImageError: the folder or an image in it cannot be used.
        ConfigError: a meta-learner without its meta-model, or one for another backbone.
        ParityError: the exported head does not score as the adapted one does.
        BundleError, StorageError: as the sentence says.
    """
    slug(request.line)  # a name that cannot be used is refused before the work, not after it
    opening = time.perf_counter()
    steps = ("open the backbone", "adapt", "export", "register")

    def tell(done: int) -> None:
        on_progress(Progress(stage=f"{_STAGE}: {steps[min(done, 3)]}", done=done, total=len(steps)))

    tell(0)
    line = load_line(request.images)
    good = _few(line.train_good, request.good, request.seed)
    defects = _few(line.defects, MAX_SUPPORT if request.defects is None else request.defects, request.seed)
    meta = _meta_model(request)
    backbones = [open_backbone(request.backbone, size, settings) for size in _sizes(request, meta, [*good, *defects])]
    learner = _learner(request, meta, backbones[0])  # `auto`, the one with several sizes, fits all of them
    start = time.perf_counter()

    tell(1)
    white_level = suggest_white_level(record.path for record in (*good, *defects))
    config = ANY_ANGLE if request.any_angle else SUPPORT
    views = [
        view_of(backbone, good, defects, config=config, white_level=white_level, seed=request.seed)
        for backbone in backbones
    ]
    adapted = adapt_to_best(learner, views, seed=request.seed)
    threshold = _calibrate(adapted.head, adapted.view.support, request, meta)
    tell(2)
    bundle, parity = _bundle(request, settings, adapted, threshold, meta)
    tell(3)
    registry = Registry(settings.home)
    if request.promote:
        registry.promote(request.line, bundle.manifest.version)
    tell(4)
    return AdaptResult(
        bundle=bundle,
        live=registry.live_version(request.line) == bundle.manifest.version,
        good=len(good),
        defects=len(defects),
        threshold=threshold,
        parity=parity,
        seconds=time.perf_counter() - start,
        opening_seconds=start - opening,
    )


def _sizes(request: AdaptRequest, meta: MetaModel | None, records: Sequence[ImageRecord]) -> tuple[int, ...]:
    """The input sizes to try: the one asked for, the meta-model's, or what the learner may choose from."""
    if request.size is not None:
        return (request.size,)
    if meta is not None:
        return (meta.spec.height,)
    return candidate_sizes(records) if request.learner is LearnerName.AUTO else (DEFAULT_SIZE,)


def _few(records: Sequence[ImageRecord], limit: int | None, seed: int) -> list[ImageRecord]:
    """At most `limit` of the records, drawn by the seed; all of them, in order, where that is enough."""
    limit = MAX_SUPPORT if limit is None else limit
    if len(records) <= limit:
        return list(records)
    return [records[i] for i in sorted(np.random.default_rng(seed).permutation(len(records))[:limit])]


def _meta_model(request: AdaptRequest) -> MetaModel | None:
    """The one named, else the learner's that ships with Linewise, None where there is none."""
    if request.meta_model is None:
        return shipped_meta_model(request.learner.value)
    return load_meta_model(request.meta_model.expanduser())


def _learner(request: AdaptRequest, meta: MetaModel | None, backbone: OpenBackbone) -> Learner:
    """The request's learner, with its meta-parameters where it has any."""
    name = request.learner.value
    if meta is None:
        if learner_entry(name).is_meta:
            raise ConfigError(
                f"a meta-model for the learner {name}",
                "none",
                "run `linewise meta-train` and pass its folder as --meta-model, or choose memory_bank, or "
                f"{' or '.join(SHIPPED)}, whose meta-model ships with Linewise",
            )
        return make_learner(name, backbone.spec, seed=request.seed)
    if meta.learner != name:
        raise ConfigError(f"a meta-model of {name}", f"one of {meta.learner}", f"pass --learner {meta.learner}")
    if meta.spec.fingerprint != backbone.spec.fingerprint:
        raise ConfigError(
            f"a meta-model for the backbone {backbone.spec.name} at {backbone.spec.height} px "
            f"({backbone.spec.fingerprint})",
            f"one for {meta.spec.name} at {meta.spec.height} px ({meta.spec.fingerprint})",
            "pass the backbone and size it was trained with, or meta-train again and name its folder as --meta-model",
        )
    learner = make_learner(
        name, backbone.spec, outer_steps=meta.outer_steps, pooled_steps=meta.pooled_steps, seed=meta.seed
    )
    if isinstance(learner, TaskLearner):
        try:
            learner.load_state_dict(meta.weights)
        except RuntimeError as error:
            raise BundleError(
                f"the meta-parameters of {name} in {request.meta_model}", "others", "meta-train again"
            ) from error
        if meta.calibration is not None and meta.calibration.fallback is None:
            return learner.unguarded()  # a meta-model from before the guard has no thresholds for the bank's head
    return learner


def _calibrate(head: AnomalyHead, support: SupportSet, request: AdaptRequest, meta: MetaModel | None) -> Threshold:
    """From the deployed head: its leave-one-out scores of the good images, at the size and with the layers chosen."""
    loo = head.leave_one_out(support)
    return calibrate(
        loo.image_score.double().numpy(),
        loo.anomaly_map.numpy(),
        target_false_reject_rate=request.target_false_reject_rate,
        pooled=calibration_for(head, meta.calibration) if meta else None,
    )


def _bundle(
    request: AdaptRequest,
    settings: Settings,
    adapted: Adapted,
    threshold: Threshold,
    meta: MetaModel | None,
) -> tuple[Bundle, Parity]:
    """Export the head, prove that the exported graphs score the support as torch does, and add the bundle."""
    registry, view, learner = Registry(settings.home), adapted.view, adapted.learner
    backbone = view.backbone
    images = np.stack([require_image(record.path, view.preprocess).pixels for record in (*view.good, *view.defects)])
    with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
        path = Path(scratch) / HEAD
        examples = [torch.from_numpy(level) for level in backbone.extractor.extract(np.stack([images[0], images[-1]]))]
        exported = export_head(adapted.head, examples, path, template_folder=settings.templates)
        engine = ScoringEngine(backbone.artefact, "cpu", threads=available_cpus())
        engine.add_head(request.line, path, exported.sha256)
        parity = check_parity(backbone.module, adapted.head, engine, request.line, images)
        draft = BundleDraft(
            line=request.line,
            version=registry.new_version(request.line),
            learner=LearnerRecord(
                name=learner.name,
                config={**_config(learner), "augmentations": list(view.config.augmentations)},
                meta_model=_origin(request, meta),
            ),
            backbone=BackboneRecord(
                name=backbone.spec.name,
                fingerprint=backbone.spec.fingerprint,
                onnx_sha256=backbone.artefact.onnx_sha256,
            ),
            spec=backbone.spec,
            preprocess=view.preprocess,
            support=SupportRecord(
                good=tuple(sha256_file(record.path) for record in view.good),
                defects=tuple(sha256_file(record.path) for record in view.defects),
                masks=sum(record.mask_path is not None for record in view.defects),
            ),
            threshold=threshold,
            choices=adapted.choices,
            parity=ParityRecord(
                max_score_error=parity.max_score_error,
                max_map_error=parity.max_map_error,
                tolerance=parity.tolerance,
                images=parity.images,
            ),
            lineage=LineageRecord(
                training_lines=meta.lines if meta else (),
                parent=registry.live_version(request.line) if request.line in registry.lines() else None,
                seed=request.seed,
            ),
        )
        files: dict[str, bytes | Path] = {HEAD: path, BANK_SOURCES: _npy(adapted.head.bank_sources.numpy())}
        for index in range(len(view.good)):
            files[f"{SUPPORT_FOLDER}/{index:03d}.jpg"] = _jpeg(images[index])
        return registry.add(draft, files), parity


def _origin(request: AdaptRequest, meta: MetaModel | None) -> str | None:
    if meta is None:
        return None
    return meta.identifier if request.meta_model else f"{meta.identifier}, shipped with Linewise"


def _config(learner: Learner) -> dict[str, JsonValue]:
    config = getattr(learner, "config", None)
    return dataclasses.asdict(config) if dataclasses.is_dataclass(config) and not isinstance(config, type) else {}


def _npy(array: NDArray[np.int64]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array.astype(np.int32), allow_pickle=False)
    return buffer.getvalue()


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=90, colorspace="RGB")
