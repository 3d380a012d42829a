"""What an evaluation is asked to do."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from flows.asking.learner_names import UNTRAINED, LearnerName
from flows.asking.request import option_name
from flows.asking.request_fields import (
    CsvFile,
    DefectCount,
    GoodCount,
    Iterations,
    JsonFile,
    LineSettings,
    MosaicLines,
    Seed,
    Several,
    UnlabelledCount,
)
from pipeline.errors import ConfigError


class Scenario(StrEnum):
    """What an evaluation asks of a learner after meta-training; see `flows.evaluate.scenarios`."""

    FEW_SHOT = "few-shot"
    DOMAIN_SHIFT = "domain-shift"
    INCREMENTAL = "incremental"
    MULTI_TASK = "multi-task"


class ShiftName(StrEnum):
    """What may change about a line's camera."""  # the names of pipeline.camera_shift.SHIFTS

    LIGHT = "light"
    BLUR = "blur"
    NOISE = "noise"
    CAMERA = "camera"
    MAGNIFICATION = "magnification"


class Protocol(StrEnum):
    """How an evaluation splits lines into those to meta-train on and those to test on."""

    LEAVE_ONE_DATA_SET_OUT = "leave-one-data-set-out"
    LEAVE_ONE_LINE_OUT = "leave-one-line-out"
    TRAIN_TEST = "train-test"


class EvaluateRequest(LineSettings):
    """Meta-train on some lines, test on others, and say how good every learner is.

    The source texts claim generative learners (maml_gan) for few-shot and domain-shift, hypernetworks (hypernetwork,
    meta_sgd_hn) for few-shot and incremental, Bayesian ones (bmaml, abml) for domain-shift and incremental.
    """

    scenario: Scenario = Field(
        default=Scenario.FEW_SHOT,
        description="few-shot: new lines from a few images; domain-shift: the camera changes after adaptation; "
        "incremental: lines arrive one after another; multi-task: one theta for all lines against one a line.",
    )
    protocol: Protocol = Field(
        default=Protocol.LEAVE_ONE_LINE_OUT,
        description="How lines are split into training and test lines; train-test where train or test lines are named.",
    )
    lines: Path | None = Field(default=None, description="Folder of lines, for the leave-one-out protocols.")
    train_lines: Path | None = Field(default=None, description="Folder of lines to meta-train on, for train-test.")
    test_lines: Path | None = Field(default=None, description="Folder of lines to test on, for train-test.")
    learners: Annotated[tuple[LearnerName, ...], Several] = Field(
        default=(LearnerName.MEMORY_BANK,),
        min_length=1,
        description="Learners to compare.",
    )
    good: Annotated[tuple[GoodCount, ...], Several] = Field(
        default=(4,), min_length=1, description="Numbers of good support images; table rows for each."
    )
    defects: Annotated[tuple[DefectCount, ...], Several] = Field(
        default=(0, 4), min_length=1, description="Numbers of defective support images; table rows for each."
    )
    unlabelled: Annotated[tuple[UnlabelledCount, ...], Several] = Field(
        default=(0,),
        min_length=1,
        description="few-shot: numbers of unlabelled images, taken up as `adapt` does; table rows for each.",
    )
    contamination: float = Field(
        default=0.05, ge=0, le=0.5, description="few-shot: share of the unlabelled images that is defective."
    )
    of_production: bool = Field(
        default=False,
        description="few-shot: half of test/good is unlabelled production, and no longer judged; without it unlabelled "
        "images are of train/good alone.",
    )
    one_kind: bool = Field(
        default=False, description="few-shot: the defects among the unlabelled images are all of one kind."
    )
    seeds: int = Field(
        default=3, ge=1, le=100, description="How many seeds to repeat with; the tables show mean and spread."
    )
    iterations: Iterations = 400
    seed: Seed = 0
    bayer: MosaicLines = None
    synthetic_lines: int = Field(
        default=0, ge=0, le=1000, description="Generated lines that join the training lines of every fold."
    )
    processes: int = Field(default=1, ge=1, le=64, description="Processes that share the folds.")
    max_test_images: int | None = Field(
        default=None, ge=2, le=100_000, description="Test at most this many images of a line (default: all)."
    )
    shifts: Annotated[tuple[ShiftName, ...], Several] = Field(
        default=tuple(ShiftName),
        min_length=1,
        description="domain-shift: what changes about the camera, one at a time.",
    )
    shift_strength: float = Field(
        default=1.0, gt=0, le=2, description="domain-shift: how much it changes; 1 is described with the shifts."
    )
    arrival_iterations: Annotated[
        Iterations,
        Field(description="incremental: outer steps of meta-training after each arrival but the first."),
    ] = 60
    json_path: JsonFile = None
    csv_path: CsvFile = None
    html_path: Path | None = Field(default=None, description="HTML page with tables and plots to write.")

    @model_validator(mode="before")
    @classmethod
    def _named_lines_choose_the_protocol(cls, data: Any) -> Any:
        if isinstance(data, dict) and "protocol" not in data and (data.get("train_lines") or data.get("test_lines")):
            return {**data, "protocol": Protocol.TRAIN_TEST}
        return data

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
                "--lines, and no --train-lines or --test-lines, for the scenario incremental",
                self._named_lines(),
                "name one folder of lines: each of them arrives, is trained on and tested",
            )
        if self.protocol is Protocol.TRAIN_TEST:
            if self.train_lines is None or self.test_lines is None or self.lines is not None:
                raise ConfigError(
                    "--train-lines and --test-lines, and no --lines, for train-test",
                    self._named_lines(),
                    "name one folder for each",
                )
        elif self.lines is None or self.train_lines is not None or self.test_lines is not None:
            raise ConfigError(
                f"--lines, and no --train-lines or --test-lines, for {self.protocol.value}",
                self._named_lines(),
                "name one folder of lines",
            )
        return self

    def _named_lines(self) -> str:
        """The flags that were given, of those that name lines."""
        names = ("lines", "train_lines", "test_lines")
        return " and ".join(f"--{option_name(name)}" for name in names if getattr(self, name)) or "none of them"
