"""What housekeeping is asked to do. Torch-free."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.asking.request import Request

Days = Annotated[int, Field(ge=1, le=36_500)]


class HousekeepingRequest(Request):
    """Remove what is old: result rows, pictures, versions of bundles, reports, logs and finished Prefect runs.

    What belongs to an image that somebody said a verdict of stays, and so do live versions and those to roll back to.
    Images whose rows went are scored again if they still lie in a folder that is scored.
    """

    rows_days: Days = Field(
        default=400, description="Days that result rows and their regions are kept; those with a verdict stay."
    )
    pictures_days: Days = Field(
        default=90, description="Days that the pictures of flagged images are kept; those with a verdict stay."
    )
    bundles: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=20,
        description="Newest versions of a line that are kept; the live one, those live before it, those that one of "
        "these is made from, and those whose images have verdicts, stay, too.",
    )
    reports_days: Days = Field(
        default=90, description="Days that reports in the home, and logs of before the last start, are kept."
    )
    runs_days: Days = Field(
        default=90,
        description="Days that finished runs of Linewise's deployments, with artifacts, are kept in Prefect.",
    )
    dry_run: bool = Field(default=False, description="Only say what would go, and how much room that frees.")
