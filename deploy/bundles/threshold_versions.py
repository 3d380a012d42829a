"""Versions of a line that differ in their threshold alone, and which of its versions score alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from deploy.bundles.bundle import Bundle, read_manifest
from deploy.bundles.manifest import (
    CARD,
    FIRST_LOOK,
    HEAD,
    REGION,
    BundleDraft,
    BundleManifest,
    CalibrationRecord,
    LineageRecord,
    SetByHandRecord,
)
from deploy.bundles.registry import Registry
from pipeline.calibration import Threshold
from pipeline.errors import ConfigError
from pipeline.promise import Promise


def add_with_threshold(
    registry: Registry,
    bundle: Bundle,
    threshold: Threshold,
    *,
    promise: Promise | None,
    calibration: CalibrationRecord | None,
    set_by_hand: SetByHandRecord | None = None,
) -> Bundle:
    """Write a bundle's files under a manifest with another threshold, as the line's next version; not live yet.

    A first look was set for the threshold before. Where the new one is lower, nobody vouches for it, and every image
    is looked at by the line's own head.

    Args:
        registry: that has the bundle, and gets the new one.
        bundle: whose head it is.
        threshold: the new one.
        promise: of the new one; None: nothing is promised.
        calibration: what the new one, or its p-values, rest on beside the support.
        set_by_hand: who set it; None: it was calibrated.

    Raises:
        StorageError: the disk is full or read-only. Nothing is left behind.
    """
    manifest = bundle.manifest
    kept = manifest.model_dump(exclude={"files", "format_version", "created_at", "linewise_version"})
    lineage = {
        **manifest.lineage.model_dump(),
        "parent": registry.live_version(manifest.line),
        "set_by_hand": set_by_hand,
    }
    left_out = {CARD}
    if threshold.review < manifest.threshold.review:
        left_out.add(FIRST_LOOK)
        kept["first_look"] = None
    draft = BundleDraft.model_validate(
        {
            **kept,
            "version": registry.new_version(manifest.line),
            "threshold": threshold,
            "promise": promise,
            "calibration": calibration,
            "lineage": LineageRecord.model_validate(lineage),
        }
    )
    return registry.add_next(draft, {name: bundle.path / name for name in manifest.files if name not in left_out})


def set_by_hand(
    registry: Registry, bundle: Bundle, reject: float, review: float, *, by: str | None, why: str
) -> Bundle:
    """Make a version with limits that a person chose live, if the one before still is; its head stays.

    Args:
        registry: that has the bundle, and gets the new one.
        bundle: the live version.
        reject: scores at or above are REJECT.
        review: scores at or above are REVIEW, at most `reject`.
        by: who sets it, as they call themselves.
        why: kept in the version's lineage.

    Raises:
        ConfigError: another version went live meanwhile, and stays so.
        BundleError, StorageError: as the sentence says; what was live stays live.
    """
    manifest = bundle.manifest
    record = SetByHandRecord(
        set_from=manifest.version,
        at=datetime.now(UTC),
        why=why,
        by=by,
        reject_before=manifest.threshold.reject,
        review_before=manifest.threshold.review,
    )
    made = add_with_threshold(
        registry,
        bundle,
        by_hand(manifest.threshold, reject, review),
        promise=None,
        calibration=manifest.calibration,
        set_by_hand=record,
    )
    said = registry.promote_instead(
        manifest.line, made.manifest.version, manifest.version, by=by or "a person", why=(why,)
    )
    if said:
        raise ConfigError(f"{manifest.version} still live", said, "look at what is live now, and set it again")
    return made


def by_hand(threshold: Threshold, reject: float, review: float) -> Threshold:
    """A threshold with limits that a person chose: its p-values stay true, a rate is nobody's promise any more.

    Args:
        threshold: the one before.
        reject: scores at or above are REJECT.
        review: scores at or above are REVIEW, at most `reject`.
    """
    return replace(threshold, reject=reject, review=review, method="a person", expected_false_reject_rate=None)


def scoring_alike(registry: Registry, bundle: Bundle) -> tuple[str, ...]:
    """Ids of the line's versions, this one's among them, that give every image the same score: of equal heads.

    Damaged ones are passed over.
    """
    found = {bundle.id}
    for record in registry.versions(bundle.manifest.line):
        if record.manifest is not None and _model(record.manifest) == _model(bundle.manifest):
            found.add(read_manifest(record.path).id)
    return tuple(sorted(found))


def _model(manifest: BundleManifest) -> tuple[object, ...]:
    """What a score depends on."""
    others = (manifest.files.get(name) for name in (REGION, FIRST_LOOK))
    return manifest.files[HEAD], manifest.backbone.onnx_sha256, manifest.preprocess, *others
