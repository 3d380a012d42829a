"""What an export is asked to do."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from flows.asking.request import Request
from flows.asking.request_fields import LineName, Version


class ExportRequest(Request):
    """Write a line's bundle, with its backbone, into a folder that scores anywhere."""

    line: LineName
    destination: Path = Field(
        description="Folder to write, such as /data/packs/caps; it must not exist yet, or be empty.",
        examples=["/data/packs/caps"],
    )
    version: Version = None
    int8: Path | None = Field(
        default=None,
        description="Make the backbone int8, faster on CPUs; refused where the line's images in this folder rank or "
        "decide otherwise with it.",
    )
