"""What meta-training is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from flows.asking.flags import Flag
from flows.asking.learner_names import LearnerName
from flows.asking.request import Request
from flows.asking.request_fields import Backbone, DefectCount, GoodCount, InputSize, Iterations, MosaicLines, Seed
from pipeline.features import DEFAULT_BACKBONE
from pipeline.settings import Device


def _one_that_trains(value: object) -> object:
    if value not in (Device.CPU, Device.CUDA, Device.AUTO):
        raise ValueError("'cpu', 'cuda' or 'auto' (TensorRT scores, it does not train)")
    return value


TrainingDevice = Annotated[Literal[Device.CPU, Device.CUDA, Device.AUTO], BeforeValidator(_one_that_trains)]


class MetaTrainRequest(Request):
    """Meta-train a learner on many product lines."""

    lines: Path = Field(
        description="Folder of product lines to meta-train on, such as /data/lines, one folder per line.",
        examples=["/data/lines"],
    )
    learner: LearnerName = Field(default=LearnerName.IN_CONTEXT, description="Learner whose initialisation is learned.")
    output: Annotated[
        Path | None,
        Field(description="Run folder for config, losses, checkpoints and the meta-model (default: one in the home)."),
        Flag(short="-o"),
    ] = None
    validation_lines: Path | None = Field(
        default=None,
        description="Folder of lines, or one line, to report metrics on and to stop early by (default: one of the "
        "training lines, where there are four or more, is held out).",
    )
    patience: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Stop after so many checks of the validation loss in a row without improvement and keep the best "
        "weights, checked twenty times in all the iterations; 0: take all of them.",
    )
    iterations: Iterations = 400
    good: Annotated[GoodCount, Field(description="Good images in an episode's support.")] = 4
    defects: Annotated[DefectCount, Field(description="Defective images in an episode's support, at most.")] = 4
    backbone: Backbone = DEFAULT_BACKBONE
    size: InputSize = 256
    bayer: MosaicLines = None
    seed: Seed = 0
    device: TrainingDevice = Field(
        default=Device.CPU,  # results do not depend on what a machine happens to have; a GPU is asked for
        description="Where the outer loop runs; cuda: a GPU for each process, an error where there is none; auto: cuda "
        "where it works, else cpu. Features are computed on the CPU.",
    )
    processes: int = Field(default=1, ge=1, le=64, description="Training processes, through torch.distributed.")
    resume: bool = Field(default=False, description="Go on from the run folder's last checkpoint.")
