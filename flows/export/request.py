"""What an export is asked to do."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from flows.asking.request import Request
from flows.asking.request_fields import LineName


class ExportRequest(Request):
    """Write a registered bundle, with its backbone, into a folder that scores anywhere."""

    line: LineName
    version: str | None = Field(default=None, max_length=80, description="Bundle version; None: the live one.")
    destination: Path = Field(description="Folder to write; it must not exist yet, or be empty.")
    int8: Path | None = Field(
        default=None,
        description="Folder of the line's images: make the backbone int8, unless they rank otherwise with it.",
    )
