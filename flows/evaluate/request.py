"""What an evaluation is asked to do."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from flows.asking.learner_names import UNTRAINED, LearnerName
from flows.asking.request import Request
from flows.asking.request_fields import (
    BackboneName,
    ChosenSize,
    DefectCount,
    FalseRejectRate,
    GoodCount,
    Iterations,
    Seed,
)
from pipeline.errors import ConfigError
from pipeline.features import DEFAULT_BACKBONE


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
