"""A line's bundle with an int8 backbone, behind the gate of its own images.

Head and threshold stay those of the float32 bundle: adapting anew on int8 features draws another memory bank, which
moves scores more than int8 does (`benchmarks/int8.md`). That the threshold still holds is what the gate shows: the
decisions on images that the line was not adapted from are counted at it.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deploy.bundles.bundle import Bundle, write_bundle
from deploy.bundles.manifest import (
    CARD,
    INT8_ENDING,
    BackboneRecord,
    BundleDraft,
    Int8Record,
    LineageRecord,
    SupportRecord,
)
from deploy.bundles.packs import Deployment
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import ImageScore
from deploy.exporting.int8 import calibration_images, quantise_backbone
from flows.progress import OnProgress, Progress, ignore_progress
from pipeline.errors import ConfigError, LineError
from pipeline.features import BackboneArtefact
from pipeline.imaging.images import UnreadableImage, read_image
from pipeline.likeness import Seen
from pipeline.precision_gate import Comparison, compare
from pipeline.product_lines.lines import ImageRecord, ProductLine, load_line
from pipeline.settings import Device
from pipeline.storage import sha256_file

MIN_GOOD = 8
"""Good images, outside the support, that the gate asks for."""
MAX_IMAGES = 64
"""Good images that the gate takes at most, and defective ones."""

_STAGE = "export: int8"


class Int8(NamedTuple):
    """An int8 deployment that passed the gate, what the gate saw, and how many times as fast scoring is.

    `speedup` is the median over the gate's images of float32 over int8 seconds, decoding left out, on one thread of
    this machine.
    """

    deployment: Deployment
    comparison: Comparison
    speedup: float


def make_int8(deployment: Deployment, images: Path, scratch: Path, on_progress: OnProgress = ignore_progress) -> Int8:
    """Quantise the backbone, compare it with the float32 one on the line's images, and make the int8 bundle.

    Args:
        deployment: the float32 bundle and backbone.
        images: folder of the line, with images that the bundle was not adapted from.
        scratch: an existing folder; the new bundle and backbone are written into folders of it.
        on_progress: called for every image.

    Raises:
        PrecisionError: the images rank or decide otherwise in int8.
        LineError: the folder is no line, or has too few good images that the bundle was not adapted from.
        ConfigError: the bundle is int8 already, or its backbone cannot be quantised.
        BundleError, StorageError: as the sentence says.
    """
    manifest = deployment.bundle.manifest
    if manifest.int8 is not None:
        raise ConfigError(
            f"a float32 version of {manifest.line} to make int8",
            f"{manifest.version}, which is int8 already",
            f"export version {manifest.int8.float32_version}",
        )
    if manifest.first_look is not None:
        got = f"{manifest.version}, which has a first look"
        raise ConfigError(f"a version of {manifest.line} that looks once, to make int8", got, "adapt without --cascade")
    good, defects = gate_images(load_line(images), manifest.support)
    on_progress(Progress(stage=_STAGE, done=0))
    folder = scratch / "backbone"
    folder.mkdir()
    artefact = quantise_backbone(deployment.backbone, calibration_images(manifest.spec), folder)
    comparison, speedup = judge(deployment, artefact, [*good, *defects], on_progress)
    comparison.require()
    bundle = _bundle(deployment, artefact, comparison, scratch / "bundle")
    return Int8(Deployment(bundle, artefact), comparison, speedup)


def gate_images(line: ProductLine, support: SupportRecord) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """The good and the defective images to compare on, at most 64 of each, spread over the line's.

    A good image of the support lies in the memory bank and scores next to nothing, which int8 would be right to change:
    none is taken. A defect of the support is in no bank: where fewer than eight others are left, those count as well.

    Raises:
        LineError: fewer than eight good images that are not in the support.
    """
    good = [record for record in (*line.test_good, *line.train_good) if sha256_file(record.path) not in support.good]
    if len(good) < MIN_GOOD:
        raise LineError(
            f"at least {MIN_GOOD} good images that the line was not adapted from, to compare int8 with float32 on",
            f"{len(good)} in {line.root}",
            "add good images, or export in float32: leave --int8 out",
        )
    unseen = [record for record in line.defects if sha256_file(record.path) not in support.defects]
    return _spread(good), _spread(unseen if len(unseen) >= MIN_GOOD else line.defects)


def judge(
    deployment: Deployment,
    artefact: BackboneArtefact,
    records: Sequence[ImageRecord],
    on_progress: OnProgress = ignore_progress,
) -> tuple[Comparison, float]:
    """Score the images with either backbone, in turn, through the engine that the line uses; see `Int8.speedup`.

    An unreadable image is left out.

    Raises:
        LineError: fewer than eight good images can be read.
    """
    bundle = deployment.bundle
    engines = [ScoringEngine(backbone, Device.CPU, threads=1) for backbone in (deployment.backbone, artefact)]
    for engine in engines:
        engine.add_head(bundle.manifest.line, bundle.head_path, bundle.head_sha256, tiles=bundle.manifest.tiles)
    scores: list[list[float]] = []
    ratios: list[float] = []
    defective: list[bool] = []
    changed = 0
    for done, record in enumerate(records):
        image = read_image(record.path, bundle.manifest.preprocess)
        if not isinstance(image, UnreadableImage):
            times = [time.perf_counter()]
            pair: list[ImageScore] = []
            for engine in engines:
                pair.extend(engine.score(bundle.manifest.line, image.pixels[None]))
                times.append(time.perf_counter())
            scores.append([scored.score for scored in pair])
            seen = Seen(image.pixels, image.source_size, image.colour, placement=image.placement)
            changed += len({bundle.judge(scored, seen).decision for scored in pair}) > 1
            ratios.append((times[1] - times[0]) / (times[2] - times[1]))
            defective.append(record.is_defect)
        on_progress(Progress(stage=_STAGE, done=done + 1, total=len(records)))
    if defective.count(False) < MIN_GOOD:
        raise LineError(
            f"at least {MIN_GOOD} good images that can be read", str(defective.count(False)), "see linewise lines check"
        )
    float32, int8 = np.array(scores).T
    comparison = compare(float32, int8, np.array(defective), decisions_changed=changed)
    return comparison, statistics.median(ratios)


def _bundle(deployment: Deployment, artefact: BackboneArtefact, comparison: Comparison, folder: Path) -> Bundle:
    """The float32 bundle's files under a manifest that names the int8 backbone and what the gate saw."""
    bundle, manifest = deployment.bundle, deployment.bundle.manifest
    figures: dict[str, Any] = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in dataclasses.asdict(comparison).items()
    }
    kept = manifest.model_dump(exclude={"files", "format_version", "created_at", "linewise_version", "metrics"})
    draft = BundleDraft.model_validate(
        {
            **kept,
            "version": f"{manifest.version}{INT8_ENDING}",
            "spec": artefact.spec,
            "backbone": BackboneRecord(
                name=artefact.spec.name, fingerprint=artefact.spec.fingerprint, onnx_sha256=artefact.onnx_sha256
            ),
            "int8": Int8Record(
                float32_version=manifest.version,
                float32_fingerprint=manifest.backbone.fingerprint,
                **figures,
            ),
            "lineage": LineageRecord.model_validate({**manifest.lineage.model_dump(), "parent": manifest.version}),
        }
    )
    return write_bundle(folder, draft, {name: bundle.path / name for name in manifest.files if name != CARD})


def _spread(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    """At most `MAX_IMAGES` of the records, evenly over the whole sequence."""
    step = max(1, math.ceil(len(records) / MAX_IMAGES))
    return list(records[::step])
