"""What rolling back is asked to do. Torch-free."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.asking.request import Request
from flows.asking.request_fields import LineName

By = Annotated[str | None, Field(max_length=200, description="Who decides it, as they call themselves.")]


class RollBackRequest(Request):
    """Make the version live again that was live before; the other one is never promoted again by itself."""

    line: LineName
    why: Annotated[str | None, Field(max_length=2000, description="What is wrong with the version that is live.")] = (
        None
    )
    by: By = None
