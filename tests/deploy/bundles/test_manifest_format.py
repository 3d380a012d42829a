"""The manifest's fields are pinned for each format version: who adds one raises the version."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel

from deploy.bundles.manifest import FORMAT_VERSION, BundleManifest

ADDED = {
    1: """
        line version created_at linewise_version format_version files metrics
        learner.name learner.config learner.meta_model
        backbone.name backbone.fingerprint backbone.onnx_sha256
        spec.name spec.weights_sha256 spec.weights_source spec.weights_licence spec.height spec.width spec.mean spec.std
        spec.levels.stride spec.levels.channels spec.levels.height spec.levels.width
        spec.groups.name spec.groups.level spec.groups.start spec.groups.stop spec.fingerprint
        preprocess.height preprocess.width preprocess.white_level
        support.good support.defects support.masks
        threshold.reject threshold.review threshold.pixel threshold.method threshold.sample_count
        threshold.target_false_reject_rate threshold.expected_false_reject_rate
        choices.what choices.chosen choices.evidence
        parity.max_score_error parity.max_map_error parity.tolerance parity.images
        int8.float32_version int8.float32_fingerprint int8.good int8.defects int8.rank_correlation
        int8.auroc_float32 int8.auroc_int8 int8.good_shift int8.largest_difference int8.decisions_changed
        lineage.training_lines lineage.parent lineage.seed
    """,
    2: "threshold.least_area",
    3: "support.left_out preprocess.bayer",
    4: """
        support.taken_up support.not_taken_up
        promise.lowest_rate promise.highest_rate promise.known_defects promise.known_defects_passed
    """,
    5: """
        likeness.distance likeness.black likeness.white likeness.even likeness.cast_low likeness.cast_high
        likeness.sizes likeness.colours likeness.images
    """,
    6: "likeness.fineness likeness.layout.thumbnail likeness.layout.least",
    7: """
        likeness.tones.known likeness.tones.most
        threshold.tail.rates threshold.tail.scores threshold.target_missed_defect_rate
        promise.adapted_with_more.images promise.adapted_with_more.lowest_rate promise.adapted_with_more.highest_rate
        promise.calibrated_with.images promise.calibrated_with.lowest_rate promise.calibrated_with.highest_rate
        calibration.calibrated_from calibration.good calibration.defects calibration.unlabelled calibration.left_out
        support.good_by_verdict support.defects_by_verdict
    """,
    8: "threshold.millimetres_per_pixel",
    9: "region.share",
    10: """
        lineage.set_by_hand.set_from lineage.set_by_hand.at lineage.set_by_hand.why lineage.set_by_hand.by
        lineage.set_by_hand.reject_before lineage.set_by_hand.review_before
    """,
    11: """
        preprocess.alignment.mode preprocess.alignment.thumbnail preprocess.alignment.width preprocess.alignment.least
        preprocess.alignment.pose.x preprocess.alignment.pose.y preprocess.alignment.pose.side
        preprocess.alignment.pose.axis preprocess.alignment.pose.box preprocess.alignment.pose.rim
    """,
    12: "kinds.names kinds.images kinds.temperature kinds.none_from kinds.confusion",
    13: "tiles.rows tiles.columns tiles.side tiles.overlap",
    14: """
        first_look.backbone.name first_look.backbone.fingerprint first_look.backbone.onnx_sha256
        first_look.spec.name first_look.spec.weights_sha256 first_look.spec.weights_source
        first_look.spec.weights_licence first_look.spec.height first_look.spec.width first_look.spec.mean
        first_look.spec.std first_look.spec.levels.stride first_look.spec.levels.channels
        first_look.spec.levels.height first_look.spec.levels.width first_look.spec.groups.name
        first_look.spec.groups.level first_look.spec.groups.start first_look.spec.groups.stop
        first_look.spec.fingerprint
        first_look.look.limit first_look.look.distance first_look.look.doubted first_look.look.middle
        first_look.look.slope first_look.look.second_middle first_look.look.most
        first_look.parity.max_score_error first_look.parity.max_map_error first_look.parity.tolerance
        first_look.parity.images
    """,
    15: "tiles.seen",
    16: "preprocess.alignment.turns preprocess.alignment.outline preprocess.alignment.least_overlap",
    17: "preprocess.alignment.deepest_hollow",
}
"""Fields that each format version brought. What a version has is never changed: a new field comes with a new one."""


def records_in(annotation: Any) -> set[type]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return {annotation}
    return {record for part in get_args(annotation) for record in records_in(part)}


def fields_of(record: type) -> set[str]:
    """Names of the fields of a record, and of the records that it holds after a dot."""
    named: set[str] = set()
    for name, annotation in get_type_hints(record).items():
        if name == "model_config":
            continue
        inner = {f"{name}.{field}" for held in records_in(annotation) for field in fields_of(held)}
        named |= inner or {name}
    return {name for name in named if not name.startswith("_")}


def test_a_manifest_has_the_fields_of_its_format_version() -> None:
    assert max(ADDED) == FORMAT_VERSION
    pinned = {field for added in ADDED.values() for field in added.split()}
    assert fields_of(BundleManifest) == pinned, "raise FORMAT_VERSION, and say here what it brings"
