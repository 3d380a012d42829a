"""What adaptation is asked to do: to one line, or to all that are new."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from flows.asking.learner_names import LearnerName
from flows.asking.request_fields import (
    MAX_DEFECTS,
    MAX_GOOD,
    MAX_UNLABELLED,
    LineName,
    LineSettings,
    MissedDefects,
    Seed,
    refuse_two_rates,
)
from pipeline.imaging.alignment import AlignMode
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.tile_grid import MOST_TILES

AUTO_TILES = "auto"
Tiles = Annotated[
    str | None,
    Field(
        description="Cut each image into so many rows and columns of overlapping tiles of the input's size, 2x3, to "
        "see small defects of large images; auto: as many as show it at about its own size, and within --most-ms "
        "(default: the whole image, made smaller). Of the learners auto, shared_direction and memory_bank.",
    ),
]


class AdaptSettings(LineSettings):
    """What is asked of every adaptation, whatever the line."""

    missed_defects: MissedDefects = None
    learner: LearnerName | None = Field(
        default=None,
        description="Learner that turns the images into a model (default: that of --meta-model; else auto, or "
        "shared_direction for a line of less than 12 good images and no defective or unlabelled one, if its meta-model "
        "is of the line's backbone and size).",
    )
    meta_model: Path | None = Field(
        default=None,
        description="Meta-model folder of a meta-train run; needed by the meta-learners (default: the plant's own of "
        "that learner, see meta-train-plant, else the one that ships for in_context and shared_direction).",
    )
    good: int | None = Field(
        default=None,
        ge=1,
        le=MAX_GOOD,
        description=f"Use at most this many good images, drawn by the seed (default: all, up to {MAX_GOOD}).",
    )
    defects: int | None = Field(
        default=None,
        ge=0,
        le=MAX_DEFECTS,
        description="Use at most this many defective images, drawn by the seed and evenly over their kinds (default: "
        f"all, up to {MAX_DEFECTS}).",
    )
    most_ms: float | None = Field(
        default=None,
        gt=0,
        description="Leave out networks and input sizes whose features take longer than so many milliseconds an image "
        "on this machine's CPU (default: the line may choose any).",
    )
    any_angle: bool = Field(default=False, description="Parts lie at any angle: rotated good images are good too.")
    oblong: bool = Field(
        default=False,
        description="Oblong images keep their proportions: the input is as oblong as they are, with about as many "
        "pixels as the square into which they are squeezed else. Of the learners auto and shared_direction.",
    )
    tiles: Tiles = None
    align: AlignMode = Field(
        default=AlignMode.NONE,
        description="Bring each part, which must stand out from its background, to one pose before it is looked at: "
        "rigid undoes where it lies and how it is turned, similarity its size, too.",
    )
    cascade: bool = Field(
        default=False,
        description="Where the line chooses a larger input, a first look at the smallest one settles what is plainly "
        "good, and only the rest is looked at in full: several times as fast. Needs four defective images, and is left "
        "out where they do not stand out from the good ones at that size.",
    )
    white_level: int | None = Field(
        default=None,
        ge=255,
        le=65535,
        description="Pixel value that the camera calls white, 4095 of 12 bits; of images of more than 8 bits (default: "
        "the smallest usual one that covers the support's pixels).",
    )
    bayer: BayerPattern | None = Field(
        default=None,
        description="Colours of the Bayer mosaics that the line's images of one channel are: the first two pixels of "
        "the first row, then of the second (default: such images are grey).",
    )
    seed: Seed = 0
    promote: bool = Field(default=True, description="Make the new version live for its line.")

    @property
    def asked_learner(self) -> str:
        """What its run is called by: the name of the learner, or that none was named."""
        return "default" if self.learner is None else self.learner.value

    @model_validator(mode="after")
    def _one_rate_sets_the_threshold(self) -> Self:
        rate = self.target_false_reject_rate
        stated = rate != LineSettings.model_fields["target_false_reject_rate"].default  # forms send every default
        refuse_two_rates(rate if stated else None, self.missed_defects)
        return self

    @field_validator("tiles")
    @classmethod
    def _tiles_are_several(cls, tiles: str | None) -> str | None:
        if tiles is None or tiles == AUTO_TILES:
            return tiles
        shape = re.fullmatch(r"([1-9][0-9]?)x([1-9][0-9]?)", tiles)
        if shape is None or not 2 <= int(shape[1]) * int(shape[2]) <= MOST_TILES:
            raise ValueError(f"'{AUTO_TILES}', or rows and columns such as 2x3, of 2 to {MOST_TILES} tiles in all")
        return tiles


MAX_HOURS = 24 * 366
"""Of a line's production that is looked back on."""


class AdaptRequest(AdaptSettings):
    """Adapt to one product line from a few images, and register the result."""

    line: LineName
    images: Path = Field(
        description="Folder with good/ and defect/ (or the MVTec AD layout) of this line, such as "
        "/data/lines/bottling/caps.",
        examples=["/data/lines/bottling/caps"],
    )
    region: Path | None = Field(
        default=None,
        description="Region of interest, outside of which nothing counts: a mask image, white where to look, or JSON "
        "with polygons in pixels of the upright image (default: region.png or region.json in the line's folder, else "
        "the whole image).",
    )
    unlabelled: Path | None = Field(
        default=None,
        description="Folder with images of this line's production that nobody has labelled, most of them good: those "
        "that look good are learned from, too.",
    )
    production_hours: float | None = Field(
        default=None,
        gt=0,
        le=MAX_HOURS,
        description="Take images of the line that were scored in the last so many hours for unlabelled ones, whatever "
        "their decision, but for those unlike the line and those with a verdict.",
    )
    max_unlabelled: int = Field(
        default=MAX_UNLABELLED,
        ge=1,
        le=MAX_UNLABELLED,
        description="Use at most this many unlabelled images, drawn by the seed.",
    )
    verdicts: bool = Field(
        default=False,
        description="Learn from the line's images that people called good or defective (`linewise verdicts`), too.",
    )
    gate: bool = Field(
        default=False,
        description="Make the new version live only if the gate lets it through, which compares it with the live one "
        "(`linewise gate`): a fifth of the labelled images of a kind, where there are 20, and of the production is "
        "then not learned from.",
    )


class AdaptNewLinesRequest(AdaptSettings):
    """Adapt to every line in a folder that has no bundle yet."""

    incoming: Path | None = Field(
        default=None,
        description="Folder of new lines, one folder each under the line's name (default: incoming/ in the home).",
    )
