"""What a look at the lines' streams is asked to do."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.asking.request import Request


class WatchDriftRequest(Request):
    """Look for drift in what was scored since the last look: of every line, or of one."""

    line: Annotated[str | None, Field(min_length=1, max_length=80)] = Field(
        default=None, description="Only this product line (default: every line that was scored)."
    )
