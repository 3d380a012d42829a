"""What each job but scoring (`scoring_requests`) is asked to do: frozen pydantic models.

One definition serves the command, the Prefect forms (descriptions, limits and choices below are what the form shows
and enforces), the run folder's config and the tests. Torch-free: the command reads these before any heavy import.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from flows.jobs.names import UNTRAINED, LearnerName, Protocol, Scenario, ShiftName, TrainingDevice
from flows.jobs.request_fields import (
    BackboneName,
    ChosenSize,
    DefectCount,
    FalseRejectRate,
    GoodCount,
    InputSize,
    Iterations,
    LineName,
    MetaModelFolder,
    Seed,
)
from pipeline.errors import ConfigError
from pipeline.features import DEFAULT_BACKBONE


class Request(BaseModel):
    """Base of every request: frozen, and an unknown field is an error rather than a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=False)


class MetaTrainRequest(Request):
    """Meta-train a learner on many product lines."""

    lines: Path = Field(description="Folder of product lines to meta-train on, one folder per line.")
    learner: LearnerName = Field(default=LearnerName.IN_CONTEXT, description="Learner whose initialisation is learned.")
    backbone: BackboneName = DEFAULT_BACKBONE
    size: InputSize = 256
    iterations: Iterations = 300
    good: GoodCount = 4
    defects: DefectCount = 4
    seed: Seed = 0
    validation_lines: Path | None = Field(
        default=None,
        description="Folder of lines, or one line, to report metrics on and to stop early by; None: one of the "
        "training lines, where there are four or more, is held out.",
    )
    patience: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Stop after so many checks of the validation loss in a row without improvement and keep the best "
        "weights, checked twenty times in all the iterations; 0: take all of them.",
    )
    output: Path | None = Field(
        default=None,
        description="Run folder for config, losses, checkpoints and the meta-model; None: one in the home.",
    )
    resume: bool = Field(default=False, description="Go on from the run folder's last checkpoint.")
    processes: int = Field(default=1, ge=1, le=64, description="Training processes, through torch.distributed.")
    device: TrainingDevice = Field(
        default=TrainingDevice.CPU,  # results do not depend on what a machine happens to have; a GPU is asked for
        description="Where the outer loop runs; cuda: a GPU for each process, an error where there is none; auto: cuda "
        "where it works, else cpu. Features are computed on the CPU.",
    )


class AdaptRequest(Request):
    """Adapt to one product line from a few images, and register the result."""

    line: LineName
    images: Path = Field(description="Folder with good/ and defect/ (or the MVTec AD layout) of this line.")
    learner: LearnerName = Field(default=LearnerName.AUTO, description="Learner that turns the images into a model.")
    meta_model: MetaModelFolder = None
    backbone: BackboneName = DEFAULT_BACKBONE
    size: ChosenSize = None
    good: GoodCount | None = Field(default=None, description="Use at most this many good images; None: up to 16.")
    defects: DefectCount | None = Field(default=None, description="Use at most this many defects; None: up to 16.")
    any_angle: bool = Field(default=False, description="Parts lie at any angle: rotated good images are good too.")
    target_false_reject_rate: FalseRejectRate = 0.01
    seed: Seed = 0
    promote: bool = Field(default=True, description="Make the new version live for this line.")


class AdaptNewLinesRequest(Request):
    """Adapt to every line in a folder that has no bundle yet."""

    incoming: Path | None = Field(
        default=None, description="Folder of new lines, one folder each; None: incoming/ in the home folder."
    )
    learner: LearnerName = Field(default=LearnerName.AUTO, description="Learner for all of them.")
    meta_model: MetaModelFolder = None
    backbone: BackboneName = DEFAULT_BACKBONE
    size: ChosenSize = None
    target_false_reject_rate: FalseRejectRate = 0.01
    promote: bool = Field(default=True, description="Make each new bundle live for its line.")


class ExportRequest(Request):
    """Write a registered bundle, with its backbone, into a folder that scores anywhere."""

    line: LineName
    version: str | None = Field(default=None, max_length=80, description="Bundle version; None: the live one.")
    destination: Path = Field(description="Folder to write; it must not exist yet, or be empty.")
    int8: Path | None = Field(
        default=None,
        description="Folder of the line's images: make the backbone int8, unless they rank otherwise with it.",
    )


class EvaluateRequest(Request):
    """Meta-train on some lines, test on others, and say how good every learner is."""

    scenario: Scenario = Field(
        default=Scenario.FEW_SHOT,
        description="few-shot: new lines from a few images; domain-shift: the camera changes after adaptation; "
        "incremental: lines arrive one after another; multi-task: one theta for all lines against one a line.",
    )
    protocol: Protocol = Field(
        default=Protocol.LEAVE_ONE_LINE_OUT, description="How lines are split into training and test lines."
    )
    lines: Path | None = Field(default=None, description="Folder of lines; for the leave-one-out protocols.")
    train_lines: Path | None = Field(default=None, description="Folder of lines to meta-train on; for train-test.")
    test_lines: Path | None = Field(default=None, description="Folder of lines to test on; for train-test.")
    learners: tuple[LearnerName, ...] = Field(
        default=(LearnerName.MEMORY_BANK,), min_length=1, description="Learners to compare."
    )
    good: tuple[GoodCount, ...] = Field(
        default=(4,), min_length=1, description="Good support images; one table row for each number."
    )
    defects: tuple[DefectCount, ...] = Field(
        default=(0, 4), min_length=1, description="Defective support images; one table row for each number."
    )
    seeds: int = Field(default=3, ge=1, le=100, description="Seeds to repeat with; the table shows mean and spread.")
    backbone: BackboneName = DEFAULT_BACKBONE
    size: ChosenSize = None
    iterations: Iterations = 300
    seed: Seed = 0
    synthetic_lines: int = Field(
        default=0, ge=0, le=1000, description="Generated lines that join the training lines of every fold."
    )
    target_false_reject_rate: FalseRejectRate = 0.01
    processes: int = Field(default=1, ge=1, le=64, description="Processes that share the folds.")
    max_test_images: int | None = Field(
        default=None, ge=2, le=100_000, description="Test at most this many images of a line; None: all."
    )
    shifts: tuple[ShiftName, ...] = Field(
        default=tuple(ShiftName),
        min_length=1,
        description="domain-shift: what changes about the camera, one at a time.",
    )
    shift_strength: float = Field(
        default=1.0, gt=0, le=2, description="domain-shift: how much it changes; 1 is described with the shifts."
    )
    arrival_iterations: Iterations = Field(
        default=60, description="incremental: outer steps of meta-training after each arrival but the first."
    )
    json_path: Path | None = Field(default=None, description="JSON file of rows to write.")
    csv_path: Path | None = Field(default=None, description="CSV file of rows to write.")
    html_path: Path | None = Field(default=None, description="HTML table with plots to write.")

    @field_validator("good", mode="before")
    @classmethod
    def _one_number_will_do(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | str) else value

    @model_validator(mode="after")
    def _learners_fit_the_scenario(self) -> Self:
        trained = not UNTRAINED.issuperset(self.learners)
        if self.scenario in (Scenario.INCREMENTAL, Scenario.MULTI_TASK) and not trained:
            has = "a trunk that other lines train" if self.scenario is Scenario.INCREMENTAL else "a theta to share"
            raise ConfigError(
                f"a learner with {has} for the scenario {self.scenario.value}",
                ", ".join(self.learners),
                f"add a meta-learner to the learners, e.g. {LearnerName.HYPERNETWORK.value}",
            )
        return self

    @model_validator(mode="after")
    def _lines_fit_the_protocol(self) -> Self:
        if self.scenario is Scenario.INCREMENTAL and (self.lines is None or self.train_lines or self.test_lines):
            raise ConfigError(
                "lines, and no train_lines or test_lines, for the scenario incremental",
                "another combination",
                "name one folder of lines: each of them arrives, is trained on and tested",
            )
        if self.protocol is Protocol.TRAIN_TEST:
            if self.train_lines is None or self.test_lines is None or self.lines is not None:
                raise ConfigError(
                    "train_lines and test_lines, and no lines, for train-test",
                    "another combination",
                    "name one folder for each",
                )
        elif self.lines is None or self.train_lines is not None or self.test_lines is not None:
            raise ConfigError(
                f"lines, and no train_lines or test_lines, for {self.protocol.value}",
                "another combination",
                "name one folder of lines",
            )
        return self
