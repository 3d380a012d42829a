"""Fields that several requests have: their limits, and what help and forms say about them."""

from __future__ import annotations

import os
import os.path
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from flows.asking.flags import Flag
from flows.asking.request import Request
from pipeline.errors import ConfigError
from pipeline.features import DEFAULT_BACKBONE
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.settings import Device


def _parts(value: Any) -> Any:
    """Text as its comma-separated parts, a number as the only one."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (value,) if isinstance(value, int) else value


Several = BeforeValidator(_parts)
"""Of a tuple: on the command line its values stand behind one another with commas."""

LineName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=80,
        description="Name of the product line, as the registry knows it, such as bottling/caps.",
        examples=["bottling/caps"],
    ),
]
Version = Annotated[str | None, Field(max_length=80, description="Bundle version (default: the live one).")]
Backbone = Annotated[
    str,
    Field(
        min_length=1,
        max_length=80,
        description="Frozen backbone that computes the patch features; `linewise backbones` lists them.",
    ),
]
InputSize = Annotated[
    int,
    Field(
        ge=64,
        le=1024,
        description="Side of the square the images are resized to, in pixels; a multiple of the backbone's coarsest "
        "stride, 16 for most.",
    ),
]
ChosenSize = Annotated[
    int | None,
    Field(
        ge=64,
        le=1024,
        description="Side of the square the images are resized to, in pixels; a multiple of the backbone's coarsest "
        "stride, 16 for most (default: what the support chooses where the learner is auto or shared_direction, else "
        "the meta-model's, or 256).",
    ),
]
MosaicLines = Annotated[
    BayerPattern | None,
    Field(
        description="Colours of the Bayer mosaics that the images of one channel are, in lines where most have a "
        "colour sensor's checker: the first two pixels of the first row, then of the second (default: such images are "
        "grey)."
    ),
]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1, description="Equal seeds give equal results on one machine.")]
Iterations = Annotated[
    int,
    Field(
        ge=10,
        le=100_000,
        description="Outer steps of meta-training; the first three quarters train trunk and theta0 on all lines "
        "together.",
    ),
]
MAX_GOOD, MAX_DEFECTS = 5000, 500
"""Images that a line is adapted from, at most; episodes of an evaluation or of meta-training take fewer."""
MAX_UNLABELLED = 256
"""Images of one take-up: their features are held in full."""
GoodCount = Annotated[int, Field(ge=1, le=64)]
DefectCount = Annotated[int, Field(ge=0, le=64)]
UnlabelledCount = Annotated[int, Field(ge=0, le=MAX_UNLABELLED)]
FalseRejectRate = Annotated[
    float,
    Field(
        ge=0.0001, le=0.5, description="Share of good parts that may be rejected; the threshold is calibrated for it."
    ),
]
MissedDefects = Annotated[
    float | None,
    Field(
        ge=0.001,
        le=0.9,
        description="Share of defects like the known ones that may be missed: the threshold is then calibrated by the "
        "known defects instead, each scored by a model that was not shown it, and the false-reject rate that this "
        "costs is told. 0.1 takes 9 defects, 0.05 takes 19 (default: the false-reject rate counts).",
    ),
]
ScoringDevice = Annotated[
    Device | None,
    Field(
        description="Where to run. auto, and the default: what LINEWISE_DEVICE says on the machine that scores, else "
        "the fastest that works. A device that is named and not there is an error, never a fallback."
    ),
]
JsonFile = Annotated[Path | None, Field(description="JSON file to write; on the command line - is standard output.")]
CsvFile = Annotated[Path | None, Field(description="CSV file to write.")]


def _source_text(value: object) -> str:
    if isinstance(value, str | os.PathLike) and (text := str(os.fspath(value))):
        return os.path.expanduser(text)  # noqa: PTH111  # a `Path` would change a URL
    raise ValueError("a path or a URL")


# A path as a person names it, or a URL, which a `Path` would change. Prefect keeps what is typed into a form, so its
# schema has no place for a user and a password.
Source = Annotated[
    str,
    PlainValidator(_source_text),
    WithJsonSchema({"type": "string", "minLength": 1, "pattern": r"^(?![A-Za-z0-9+.-]+://[^/]*@)"}),
    Flag(metavar="SOURCE"),
]


def refuse_two_rates(false_rejects: float | None, missed_defects: float | None) -> None:
    """See that a threshold is asked for by one rate.

    Raises:
        ConfigError: both are stated.
    """
    if false_rejects is not None and missed_defects is not None:
        raise ConfigError(
            "either target-false-reject-rate or missed-defects: each alone sets the threshold",
            f"{false_rejects:g} and {missed_defects:g}",
            "leave one of them out",
        )


class LineSettings(Request):
    """What adaptation and evaluation ask alike: how a line is looked at, and how its threshold is set."""

    target_false_reject_rate: FalseRejectRate = 0.01
    least_defect_area: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Area below which a marked region does not count as a defect, in pixels of the camera's image, or "
        "in square millimetres where millimetres per pixel are given (default: every region counts).",
    )
    millimetres_per_pixel: float | None = Field(
        default=None,
        ge=1e-6,
        le=1000,
        description="Side of a camera's pixel on the part, in millimetres; areas of regions are then told in square "
        "millimetres, too, and the least defect area is meant in them.",
    )
    backbone: Backbone = DEFAULT_BACKBONE
    size: ChosenSize = None
