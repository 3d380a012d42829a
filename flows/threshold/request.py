"""What is asked of a line's threshold. Torch-free."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from deploy.results.threshold_effects import LARGEST_SCORE
from flows.asking.request import Request
from flows.asking.request_fields import LineName
from pipeline.errors import ConfigError

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class ThresholdRequest(Request):
    """Show what other thresholds would have done to what a line scored lately, or set one by hand.

    Scores are on the scale of the line's own model: another line's, or another version's, mean nothing beside them.
    Without reject the live version's threshold and a few others are shown. With reject, and why, a new version with it
    goes live: the model stays, p-values stay, rows of before stay as they are, and no rate is promised any more, as
    nothing was calibrated: to have one promised, calibrate the line.
    """

    line: LineName
    reject: float | None = Field(
        default=None,
        allow_inf_nan=False,
        ge=-LARGEST_SCORE,
        le=LARGEST_SCORE,
        description="Score from which on a part is rejected, on the scale of the line's live model (default: only show "
        "what some thresholds would have done).",
    )
    review: float | None = Field(
        default=None,
        allow_inf_nan=False,
        ge=-LARGEST_SCORE,
        le=LARGEST_SCORE,
        description="Score from which on a person should look, on the same scale, at most reject; equal to it: never "
        "(default: as it is, or reject where that is lower).",
    )
    why: Words | None = Field(default=None, description="Why the threshold is set; kept in the version's lineage.")
    by: Words | None = Field(default=None, description="Who sets it, as they call themselves.")
    hours: float = Field(
        default=168.0, gt=0, le=87_600, description="Tell of the images that were scored in the last so many hours."
    )
    dry_run: bool = Field(default=False, description="Only say what the threshold would have done, and set nothing.")

    @model_validator(mode="after")
    def _one_threshold_with_its_reason(self) -> Self:
        if self.reject is None:
            if self.review is not None:
                raise ConfigError(
                    "review beside reject", "review alone", "state reject, too: today's, if it is to stay"
                )
            return self
        if self.review is not None and self.review > self.reject:
            got = f"{self.review:g} and {self.reject:g}"
            raise ConfigError("review to be at most reject", got, "lower review, or leave it out")
        if self.why is None and not self.dry_run:
            remedy = "say it with why, or only look with dry-run"
            raise ConfigError("why the threshold is set by hand", "no reason", remedy)
        return self
