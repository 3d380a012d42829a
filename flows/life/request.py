"""What tending a plant's lines is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from flows.adapt.request import MAX_HOURS, AdaptSettings


class TendRequest(AdaptSettings):
    """Adapt new lines, and anew those whose production or verdicts showed more, all through the gate.

    What it says of adaptation is of new lines: one that is live keeps the settings of its live version.
    """

    folder: Path = Field(
        description="Folder, such as /data/lines, with a folder for each line under its name, with good/ and defect/ "
        "in it.",
        examples=["/data/lines"],
    )
    line: Annotated[str | None, Field(max_length=80)] = Field(
        default=None, description="Tend this line only (default: every line in the folder)."
    )
    least_good: int = Field(default=4, ge=1, le=5000, description="Good images from which a new line is adapted to.")
    quiet_seconds: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Seconds without a change in a new line's folder before it is adapted to: more images may come.",
    )
    new_verdicts: int = Field(
        default=5, ge=1, le=10_000, description="Verdicts since a line's newest version from which it is adapted anew."
    )
    every_hours: float = Field(
        default=24.0,
        gt=0,
        le=MAX_HOURS,
        description="Hours since a line's newest version from which it is adapted anew to take up its production.",
    )
    least_production: int = Field(
        default=50, ge=1, le=10_000, description="Images scored since then that this needs, and that are still there."
    )
    drifted: bool = Field(
        default=False, description="The production drifted: adapt anew without waiting for every-hours to pass."
    )
    production_hours: float = Field(
        default=168.0, gt=0, le=MAX_HOURS, description="Hours of production, up to now, that are taken up from."
    )
