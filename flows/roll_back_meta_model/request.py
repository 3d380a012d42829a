"""What rolling a plant's meta-model back is asked to do. Torch-free."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.asking.learner_names import LearnerName
from flows.asking.request import Request
from flows.roll_back.request import By


class RollBackMetaModelRequest(Request):
    """Make the plant's meta-model live again that was live before; the other one is never promoted again by itself.

    Before the first there was none: then adaptation takes what it took then. Lines keep the versions that they have.
    """

    learner: LearnerName = Field(default=LearnerName.SHARED_DIRECTION, description="Whose meta-model is rolled back.")
    version: Annotated[str | None, Field(max_length=80)] = Field(
        default=None,
        description="Make this version live instead, also one that was rolled back (default: the one before).",
    )
    why: Annotated[
        str | None, Field(max_length=2000, description="What is wrong with the meta-model that is live.")
    ] = None
    by: By = None
