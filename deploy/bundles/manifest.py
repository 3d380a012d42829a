"""`manifest.json`: what a bundle is and where it came from, as frozen records that refuse what they do not know."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, model_validator

from pipeline.calibration import Threshold
from pipeline.features import BackboneSpec
from pipeline.first_look import FirstLook
from pipeline.imaging.images import PreprocessSpec
from pipeline.input_size import InputSize
from pipeline.likeness import Likeness
from pipeline.promise import Promise
from pipeline.tile_grid import TileGrid

FORMAT_VERSION = 17
"""Raise it with every field that a manifest gains, here or in what it holds, and give that field a default: older
bundles then open as before, and an older Linewise says of a newer bundle "upgrade Linewise", not "adapt again"."""
MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
SIGNATURE = "manifest.sig"
CARD = "card.md"
HEAD = "head.onnx"
FIRST_LOOK = "first_look.onnx"
BANK_SOURCES = "bank_sources.npy"
REGION = "region.png"
KINDS = "kinds.npz"
LEARNED = "learned.png"
SUPPORT_FOLDER = "support"
BY_DEFAULT = "by_default"
"""Among a learner's settings: nobody named it, the line's images decided. Bundles of before that lack it."""
LACKS_META_MODEL = "lacks_meta_model"
"""Likewise: other lines would have helped, and none of their meta-models is of this backbone and input size."""
INT8_ENDING = "-int8"
"""Of the name of a version with an int8 backbone."""

_PLAIN_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
FILE_NAME = re.compile(rf"{_PLAIN_NAME}(/{_PLAIN_NAME})?")  # at most one folder deep, and never upwards

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
VersionName = Annotated[str, Field(pattern=rf"^{_PLAIN_NAME}$")]


@cache
def linewise_version() -> str:
    """The installed distribution's version."""
    try:
        return version("linewise")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+source"


class Record(BaseModel):
    """Frozen; unknown fields and values that JSON cannot hold (NaN, infinity) are errors, also in the dataclasses."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, revalidate_instances="always")


class LearnerRecord(Record):
    """Which learner made the head: its configuration, and the sha256 (or name) of its meta-model, if it has one."""

    name: str
    config: dict[str, JsonValue]
    meta_model: str | None = None


class BackboneRecord(Record):
    """Which backbone graph the head was made for; `onnx_sha256` is of `backbone.onnx`."""

    name: str
    fingerprint: VersionName
    onnx_sha256: Sha256


class SupportRecord(Record):
    """What the head was adapted from: sha256 of the image files, and how many of the defects had a mask.

    `left_out`: how many files of the line's folder were not adapted from, by reason; None: nobody counted them.
    `taken_up`: those of `good` that nobody had labelled; `not_taken_up`: the unlabelled ones that did not look good.
    `good_by_verdict`, `defects_by_verdict`: how many of `good` and `defects` people judged among what was scored.
    """

    good: tuple[Sha256, ...]
    defects: tuple[Sha256, ...] = ()
    masks: Annotated[int, Field(ge=0)] = 0
    left_out: dict[str, Annotated[int, Field(ge=1)]] | None = None
    taken_up: tuple[Sha256, ...] = ()
    not_taken_up: tuple[Sha256, ...] = ()
    good_by_verdict: Annotated[int, Field(ge=0)] = 0
    defects_by_verdict: Annotated[int, Field(ge=0)] = 0


class CalibrationRecord(Record):
    """What the threshold was set anew from, after adaptation: images that the head does not know.

    `calibrated_from` is the line's version whose head this is. `left_out`: how many files of the folder did not count,
    by reason.
    """

    calibrated_from: VersionName
    good: tuple[Sha256, ...] = ()
    defects: tuple[Sha256, ...] = ()
    unlabelled: tuple[Sha256, ...] = ()
    left_out: dict[str, Annotated[int, Field(ge=1)]] = {}


class ChoiceRecord(Record):
    """What the support chose among candidates, and the evidence for each: higher is better."""

    what: str
    chosen: str
    evidence: dict[str, float]


class RegionRecord(Record):
    """The part of the image that is looked at, drawn in the bundle's `region.png`: its share of the image."""

    share: Annotated[float, Field(gt=0, le=1)]


class KindsRecord(Record):
    """The line's kinds of defects, whose prototypes lie in the bundle's `kinds.npz`.

    `images`: of each kind. `temperature`, `none_from`: see `pipeline.kinds.KindsOfDefects`. `confusion`: see
    `pipeline.kinds.LearnedKinds`.
    """

    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2)]
    images: tuple[Annotated[int, Field(ge=1)], ...]
    temperature: Annotated[float, Field(gt=0)]
    none_from: Annotated[float, Field(ge=0, le=2)]
    confusion: tuple[tuple[Annotated[int, Field(ge=0)], ...], ...]

    @model_validator(mode="after")
    def _one_for_each_kind(self) -> Self:
        count = len(self.names)
        if {len(self.images), len(self.confusion)} != {count} or {len(row) for row in self.confusion} != {count + 1}:
            raise ValueError("images and confusion do not fit the names")
        return self


class ParityRecord(Record):
    """Largest absolute differences between torch and the exported graphs, over `images` images."""

    max_score_error: Annotated[float, Field(ge=0)]
    max_map_error: Annotated[float, Field(ge=0)]
    tolerance: Annotated[float, Field(gt=0)]
    images: Annotated[int, Field(ge=1)]


class FirstLookRecord(Record):
    """The line's first look: its backbone, where doubt begins, and how near its head in `first_look.onnx` is to torch.

    It sees what the line's own preprocessing gives, shrunk to the backbone's input.
    """

    backbone: BackboneRecord
    spec: BackboneSpec
    look: FirstLook
    parity: ParityRecord


class Int8Record(Record):
    """What an int8 backbone was made from, and the figures with which it passed the gate (`pipeline.precision_gate`).

    `float32_version` is the line's version that head and threshold come from. Images: of the line's, not adapted from.
    """

    float32_version: VersionName
    float32_fingerprint: VersionName
    good: Annotated[int, Field(ge=2)]
    defects: Annotated[int, Field(ge=0)]
    rank_correlation: float
    auroc_float32: float | None
    auroc_int8: float | None
    good_shift: float
    largest_difference: float
    decisions_changed: Annotated[int, Field(ge=0)]


class SetByHandRecord(Record):
    """That a person set the threshold, which nothing was calibrated for and which promises no rate.

    `set_from` is the line's version whose head this is, `reject_before` and `review_before` are its threshold's.
    """

    set_from: VersionName
    at: AwareDatetime
    why: Annotated[str, Field(min_length=1)]
    by: str | None = None
    reject_before: float
    review_before: float


class LineageRecord(Record):
    """Where it comes from: lines the learner was meta-trained on, the version it replaces, and the seed.

    `set_by_hand`: who set the threshold, and why; None: it was calibrated.
    """

    training_lines: tuple[str, ...] = ()
    parent: str | None = None
    seed: int = 0
    set_by_hand: SetByHandRecord | None = None


class BundleDraft(Record):
    """A manifest before its files are written: everything but their hashes.

    `tiles`: that images are seen as, each as large as `spec` says, and `preprocess` brings an image to their canvas;
    None: images are seen whole.
    """

    line: Annotated[str, Field(min_length=1, max_length=200)]
    version: VersionName
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    linewise_version: str = Field(default_factory=linewise_version)
    learner: LearnerRecord
    backbone: BackboneRecord
    spec: BackboneSpec
    preprocess: PreprocessSpec
    tiles: TileGrid | None = None
    support: SupportRecord
    threshold: Threshold
    promise: Promise | None = None
    calibration: CalibrationRecord | None = None
    likeness: Likeness | None = None
    region: RegionRecord | None = None
    kinds: KindsRecord | None = None
    choices: tuple[ChoiceRecord, ...] = ()
    metrics: dict[str, float] = {}
    parity: ParityRecord
    first_look: FirstLookRecord | None = None
    int8: Int8Record | None = None
    lineage: LineageRecord = LineageRecord()

    @property
    def least_area_in_words(self) -> str:
        """See `Threshold.least_area_in_words`, of images as large as the support's."""
        return self.threshold.least_area_in_words(() if self.likeness is None else self.likeness.sizes)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.backbone.fingerprint != self.spec.fingerprint:
            raise ValueError("backbone.fingerprint and spec.fingerprint differ")
        part, whole = self.spec.size, self.spec.size
        if self.tiles is not None:
            part, whole = InputSize.of(self.tiles.side), self.tiles.canvas
        if part != self.spec.size or whole != (self.preprocess.height, self.preprocess.width):
            raise ValueError("preprocess and spec differ in size")
        if self.threshold.review > self.threshold.reject:
            raise ValueError("threshold.review is above threshold.reject")
        if (first := self.first_look) is not None:
            if first.backbone.fingerprint != first.spec.fingerprint:
                raise ValueError("first_look.backbone.fingerprint and first_look.spec.fingerprint differ")
            if not first.look.most < self.threshold.review:
                raise ValueError("first_look.look.most is not below threshold.review")
        return self


class BundleManifest(BundleDraft):
    """`manifest.json`: the draft, the format version, and the sha256 of every other file by its name in the bundle."""

    format_version: Annotated[int, Field(strict=True, ge=1, le=FORMAT_VERSION)] = FORMAT_VERSION
    files: dict[str, Sha256]

    @model_validator(mode="after")
    def _names_are_confined(self) -> Self:
        for name in self.files:
            if not FILE_NAME.fullmatch(name) or name in (MANIFEST, SEAL, SIGNATURE):
                raise ValueError(f"{name!r} is not a file name a bundle may hold")
        described = ((REGION, self.region), (KINDS, self.kinds), (FIRST_LOOK, self.first_look))
        for name in (HEAD, CARD, *(name for name, record in described if record is not None)):
            if name not in self.files:
                raise ValueError(f"{name} is not among the files")
        return self
