"""What a calibration is asked to do. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from flows.asking.request import Request
from flows.asking.request_fields import (
    FalseRejectRate,
    LineName,
    MissedDefects,
    ScoringDevice,
    Version,
    refuse_two_rates,
)


class CalibrateRequest(Request):
    """Set a line's threshold anew from images that it was not adapted from; the model stays."""

    line: LineName
    images: Path = Field(
        description="Folder with good/ and, if there are any, defect/ (or the MVTec AD layout) of this line, taken as "
        "production is, such as /data/checks/bottling/caps; with unlabelled a folder of images of its production.",
        examples=["/data/checks/bottling/caps"],
    )
    unlabelled: bool = Field(
        default=False,
        description="Nobody has labelled the images, most of them are good: a few defects among them do not move the "
        "threshold.",
    )
    target_false_reject_rate: FalseRejectRate | None = Field(
        default=None,
        description="Share of good parts that may be rejected; the threshold is calibrated for it (default: what the "
        "version's was calibrated for).",
    )
    missed_defects: MissedDefects = None
    version: Version = None
    device: ScoringDevice = None
    promote: bool = Field(default=True, description="Make the new version live for its line.")

    @model_validator(mode="after")
    def _one_rate_sets_the_threshold(self) -> Self:
        refuse_two_rates(self.target_false_reject_rate, self.missed_defects)
        return self
