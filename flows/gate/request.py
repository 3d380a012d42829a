"""What a gate is asked to do. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from flows.asking.request import Request
from flows.asking.request_fields import LineName, ScoringDevice

MAX_IMAGES = 1000
StreamHours = Annotated[
    float,
    Field(
        gt=0, le=24 * 366, description="Hours of the line's production, up to now, whose images both versions score."
    ),
]
MostImages = Annotated[
    int,
    Field(
        ge=1,
        le=MAX_IMAGES,
        description="Use at most this many good images, defective ones, and ones of the production.",
    ),
]


class ComparedOn(Request):
    """On what versions of a line are compared."""

    images: Path | None = Field(
        default=None,
        description="The line's folder: its labelled images that neither version has learned count (default: only "
        "what people said in verdicts, and the production).",
    )
    stream_hours: StreamHours = 168.0
    most_images: MostImages = 300
    device: ScoringDevice = None


class GateRequest(ComparedOn):
    """Make a new version of a line live if it is no worse than the live one, on images that neither has learned."""

    line: LineName
    candidate: Annotated[str | None, Field(max_length=80)] = Field(
        default=None, description="Version to judge (default: the newest that is not live)."
    )
    promote: bool = Field(default=True, description="Make it live if the gate lets it through.")
