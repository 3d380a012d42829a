"""What adaptation is asked to do: to one line, or to all that are new."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from flows.asking.learner_names import LearnerName
from flows.asking.request import Request
from flows.asking.request_fields import (
    BackboneName,
    ChosenSize,
    DefectCount,
    FalseRejectRate,
    GoodCount,
    LineName,
    MetaModelFolder,
    Seed,
)
from pipeline.features import DEFAULT_BACKBONE


class AdaptRequest(Request):
    """Adapt to one product line from a few images, and register the result."""

    line: LineName
    images: Path = Field(description="Folder with good/ and defect/ (or the MVTec AD layout) of this line.")
    learner: LearnerName = Field(default=LearnerName.AUTO, description="Learner that turns the images into a model.")
    meta_model: MetaModelFolder = None
    backbone: BackboneName = DEFAULT_BACKBONE
    size: ChosenSize = None
    good: GoodCount | None = Field(default=None, description="Use at most this many good images; None: up to 16.")
    defects: DefectCount | None = Field(default=None, description="Use at most this many defects; None: up to 16.")
    any_angle: bool = Field(default=False, description="Parts lie at any angle: rotated good images are good too.")
    target_false_reject_rate: FalseRejectRate = 0.01
    seed: Seed = 0
    promote: bool = Field(default=True, description="Make the new version live for this line.")


class AdaptNewLinesRequest(Request):
    """Adapt to every line in a folder that has no bundle yet."""

    incoming: Path | None = Field(
        default=None, description="Folder of new lines, one folder each; None: incoming/ in the home folder."
    )
    learner: LearnerName = Field(default=LearnerName.AUTO, description="Learner for all of them.")
    meta_model: MetaModelFolder = None
    backbone: BackboneName = DEFAULT_BACKBONE
    size: ChosenSize = None
    target_false_reject_rate: FalseRejectRate = 0.01
    promote: bool = Field(default=True, description="Make each new bundle live for its line.")
