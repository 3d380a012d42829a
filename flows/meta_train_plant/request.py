"""What learning the plant's own meta-model is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from flows.asking.learner_names import LearnerName
from flows.asking.request import Request
from flows.asking.request_fields import Backbone, DefectCount, GoodCount, InputSize, Iterations, Seed
from flows.meta_train.request import MetaTrainRequest
from pipeline.features import DEFAULT_BACKBONE


class MetaTrainPlantRequest(Request):
    """Learn a meta-model from all lines of the registry; it goes live where it is better on lines it did not see."""

    folder: Path = Field(
        description="Folder, such as /data/lines, with a folder for each line under its name, with good/ and defect/ "
        "in it, as `tend` takes. Images with verdicts join them; those held back to compare versions on are left out.",
        examples=["/data/lines"],
    )
    learner: LearnerName = Field(
        default=LearnerName.SHARED_DIRECTION, description="Meta-learner whose initialisation is learned."
    )
    iterations: Iterations = 400
    good: Annotated[GoodCount, Field(description="Good images in an episode's support.")] = 4
    defects: Annotated[DefectCount, Field(description="Defective images in an episode's support, at most.")] = 4
    folds: int = Field(
        default=5,
        ge=2,
        le=50,
        description="Parts that the lines are held out in: each line is judged by what the lines of the other parts "
        "taught.",
    )
    draws: int = Field(default=2, ge=1, le=20, description="Supports that are drawn of each held-out line.")
    backbone: Backbone = DEFAULT_BACKBONE
    size: InputSize = 256
    seed: Seed = 0

    def training(self) -> MetaTrainRequest:
        """The meta-training that this asks for, on whatever lines."""
        shared = MetaTrainRequest.model_fields.keys() & type(self).model_fields.keys()
        return MetaTrainRequest(lines=self.folder, **{name: getattr(self, name) for name in shared})
