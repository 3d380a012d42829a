"""Fields that several requests have: their limits, and what a form says about them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from pipeline.settings import DeviceName

LineName = Annotated[
    str, Field(min_length=1, max_length=80, description="Name of the product line, as the registry knows it.")
]
BackboneName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=80,
        description="Frozen backbone that computes the patch features (see `linewise backbones`).",
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
        "stride, 16 for most; None: the meta-model's, or what the support chooses where the learner is auto, or 256.",
    ),
]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1, description="Equal seeds give equal results on one machine.")]
Iterations = Annotated[int, Field(ge=10, le=100_000, description="Outer steps of meta-training.")]
GoodCount = Annotated[int, Field(ge=1, le=64, description="Good images a line gives to adapt from.")]
DefectCount = Annotated[int, Field(ge=0, le=64, description="Defective images a line gives to adapt from.")]
FalseRejectRate = Annotated[
    float,
    Field(
        ge=0.0001, le=0.5, description="Share of good parts that may be rejected; the threshold is calibrated for it."
    ),
]
MetaModelFolder = Annotated[
    Path | None,
    Field(
        description="Meta-model folder of a meta-train run; needed by the meta-learners, but one ships for in_context."
    ),
]
ScoringDevice = Annotated[
    DeviceName, Field(description="Where to run; a device that is not there is an error, never a fallback.")
]
ScoringThreads = Annotated[
    int | None, Field(ge=1, le=256, description="Decoding and scoring threads; None: one for each CPU.")
]
ReportFile = Annotated[Path | None, Field(description="HTML report to write; None: one in the home folder.")]
JsonFile = Annotated[Path | None, Field(description="JSON file of results to write; None: beside the report.")]
CsvFile = Annotated[Path | None, Field(description="CSV file of results to write; None: beside the report.")]
MapsFolder = Annotated[
    Path | None,
    Field(
        description="Folder for the anomaly map of every image scored in this run, as float32 TIFF; None: no maps.",
    ),
]
DrawsOverlays = Annotated[bool, Field(description="Write a heat-map overlay for every flagged image.")]


def _source_text(value: object) -> str:
    if isinstance(value, str | os.PathLike) and (text := str(os.fspath(value))):
        return text
    raise ValueError("a path or a URL")


# A path as a person names it, or a URL, which a `Path` would change. Prefect keeps what is typed into a form, so its
# schema has no place for a user and a password.
Source = Annotated[
    str,
    PlainValidator(_source_text),
    WithJsonSchema({"type": "string", "minLength": 1, "pattern": r"^(?![A-Za-z0-9+.-]+://[^/]*@)"}),
]
