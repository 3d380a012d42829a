"""Calibration as a job: new images of a line in, a registered version with the same head and another threshold out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from deploy.bundles.bundle import Bundle
from deploy.bundles.manifest import CalibrationRecord
from deploy.bundles.registry import Registry
from deploy.bundles.threshold_versions import add_with_threshold
from deploy.decoding.choice import image_opener
from deploy.engine.devices import open_device
from flows.calibrate.new_images import Kind, NewImages, find_labelled, find_unlabelled_files, score_new
from flows.calibrate.request import CalibrateRequest
from flows.progress import OnProgress, Progress, ignore_progress
from pipeline.calibration import Threshold
from pipeline.missed_defects import require_defects
from pipeline.recalibration import recalibrate
from pipeline.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """How many images of a kind there are, and how many of them the threshold before and the new one reject."""

    kind: Kind
    images: int
    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class CalibrateResult:
    """A registered bundle, whether it is live, the threshold before, and what either rejects of the images.

    `remarks` are sentences on what was left out. `seconds` runs from the first image to the bundle on disk.
    """

    bundle: Bundle
    live: bool
    before: Threshold
    rejected: tuple[Rejected, ...]
    remarks: tuple[str, ...]
    seconds: float


def run(request: CalibrateRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> CalibrateResult:
    """Score the images with the version's own head, set the threshold by them, and register the result.

    Raises:
        ConfigError: no such line or version, or too few defects for the share of missed ones.
        LineError: the folder is none of a line, or has too few images that the version does not know.
        DeviceError: the device is not there.
        BundleError, StorageError: as the sentence says.
    """
    registry = Registry(settings.home)
    deployment = registry.deployment(request.line, request.version)
    bundle = deployment.bundle
    found = find_unlabelled_files(request.images) if request.unlabelled else find_labelled(request.images)
    before = bundle.manifest.threshold
    rate, missed = request.target_false_reject_rate, request.missed_defects
    if rate is None and missed is None:
        missed = before.target_missed_defect_rate
    if missed is not None:  # before the work, not after it
        require_defects(missed, sum(kind is Kind.DEFECT for kind, _ in found.items))
    device, opener = open_device(request.device, settings), image_opener(settings.jpeg_decoder)
    start = time.perf_counter()

    def tell(done: int, total: int) -> None:
        on_progress(Progress(stage="calibrate", done=done, total=total))

    new = score_new(deployment, found, device, opener, tell)
    if new.remarks:
        total = len(found.items)
        on_progress(Progress(stage="calibrate", done=total, total=total, remark=" ".join(new.remarks)))
    taken = new.of(Kind.UNLABELLED if request.unlabelled else Kind.GOOD)
    threshold, promise = recalibrate(
        np.array([image.score for image in taken]),
        np.array([image.peak for image in taken], np.float32),
        np.array([image.score for image in new.of(Kind.DEFECT)]),
        rate=rate or before.target_false_reject_rate,
        labelled=not request.unlabelled,
        missed_defects=missed,
    )
    threshold = replace(threshold, least_area=before.least_area, millimetres_per_pixel=before.millimetres_per_pixel)
    added = add_with_threshold(
        registry, bundle, threshold, promise=promise, calibration=_record(bundle.manifest.version, new)
    )
    if request.promote:
        registry.promote(request.line, added.manifest.version)
    return CalibrateResult(
        bundle=added,
        live=registry.live_version(request.line) == added.manifest.version,
        before=before,
        rejected=tuple(_rejected(new, kind, before, threshold) for kind in Kind if new.of(kind)),
        remarks=new.remarks,
        seconds=time.perf_counter() - start,
    )


def _record(version: str, new: NewImages) -> CalibrationRecord:
    hashes = {kind: tuple(image.sha256 for image in new.of(kind)) for kind in Kind}
    return CalibrationRecord(
        calibrated_from=version,
        good=hashes[Kind.GOOD],
        defects=hashes[Kind.DEFECT],
        unlabelled=hashes[Kind.UNLABELLED],
        left_out=new.left_out,
    )


def _rejected(new: NewImages, kind: Kind, before: Threshold, after: Threshold) -> Rejected:
    images = new.of(kind)
    counts = [sum(image.rejected(threshold) for image in images) for threshold in (before, after)]
    return Rejected(kind=kind, images=len(images), before=counts[0], after=counts[1])
