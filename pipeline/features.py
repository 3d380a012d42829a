"""Patch features: what a frozen backbone says about an image.

Shape letters: B images, H x W image pixels, L levels, C channels of a level, h x w its grid.

A backbone gives one feature map per *level* (a stride). A level's channels are the concatenation of one or more
*groups* (one network layer each); distances are taken per group, so that no layer drowns another.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.input_size import InputSize

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
"""What a job takes whose request names none."""

FUSED = "+"
"""Between the names of networks that are one backbone together."""

TOKENS = ".tokens"
"""What the name of a group of tokens ends with."""


@dataclass(frozen=True, kw_only=True)
class FeatureGroup:
    """One network layer's channels inside a level: channels[start:stop] of level `level`."""

    name: str
    level: int
    start: int
    stop: int

    @property
    def is_tokens(self) -> bool:
        """Whether its features are a transformer's tokens, all of one length, and finished as they are."""
        return self.name.endswith(TOKENS)


@dataclass(frozen=True, kw_only=True)
class FeatureLevel:
    """One feature map: stride in input pixels, channels, and grid size at the spec's input size."""

    stride: int
    channels: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """Everything that fixes what a backbone computes. Equal fingerprints mean equal features.

    The graph takes uint8 NHWC RGB at `height` x `width`, normalises with `mean`/`std` (on the 0..1 scale) inside,
    averages each feature map 3 x 3 and divides each channel by its fixed standard deviation over generated images;
    a transformer's tokens are brought to one length instead.
    `weights_sha256` is over the trunk's tensors, whatever file they came in.
    """

    name: str
    weights_sha256: str
    weights_source: str
    weights_licence: str
    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    levels: tuple[FeatureLevel, ...]
    groups: tuple[FeatureGroup, ...]
    fingerprint: str
    """First 16 hex digits of the sha256 over weights, constants and every field above but the weights' provenance."""

    @property
    def size(self) -> InputSize:
        """Of the input."""
        return InputSize(self.height, self.width)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BackboneSpec:
        """The spec written by `to_json`.

        Raises:
            ValueError: a field is missing, unknown, or of another type.
        """
        try:
            return _KeptSpec.model_validate({"spec": data}).spec
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class _KeptSpec(BaseModel):
    """A spec as a file has it: unknown fields, and numbers that JSON cannot hold, are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    spec: BackboneSpec


Levels = list[NDArray[np.float32]]
"""Feature maps of a batch, finest first: level l is float32 (B, C_l, h_l, w_l)."""


class FeatureExtractor(Protocol):
    """A frozen backbone, ready to run. The same exported graph serves adaptation, meta-training and the line."""

    @property
    def spec(self) -> BackboneSpec:
        """What this extractor computes."""
        ...

    def extract(self, images_BHWC: NDArray[np.uint8]) -> Levels:
        """Features of uint8 RGB images (B, H, W, 3) already at the spec's size."""
        ...


@dataclass(frozen=True)
class BackboneArtefact:
    """A built backbone on disk: `backbone.onnx` and `backbone.json` (the spec and the file's sha256)."""

    folder: Path
    spec: BackboneSpec
    onnx_sha256: str

    @property
    def onnx_path(self) -> Path:
        """The graph file."""
        return self.folder / "backbone.onnx"
