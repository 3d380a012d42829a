"""A short outer loop of any meta-learner on any device, with validation between its steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from flows.meta_train.training_device import on_device
from model_zoo.learner_table import LEARNERS, make_learner
from pipeline.learner import MetaLearner, OuterStepReport
from pipeline.meta_training import MetaTrainingConfig, SourceTask, meta_train
from tests.parts.episodes import SPEC, ToyLine

META = [name for name, entry in LEARNERS.items() if entry.is_meta]
STEPS = 3


def fresh(name: str) -> MetaLearner:
    made = make_learner(name, SPEC, outer_steps=STEPS, pooled_steps=1, seed=0).as_meta()
    assert made is not None
    return made


def toy_tasks(name: str) -> list[SourceTask]:
    return [SourceTask("toy", f"line{i}", fresh(name).prepare(ToyLine(i).episode(m=i))) for i in range(3)]


def scores(learner: MetaLearner) -> Tensor:
    """Image scores after adaptation to a toy line: what validation does between two outer steps."""
    return learner.adapt(ToyLine(8).support(), seed=1)(*ToyLine(8).query().levels).image_score


def train(
    learner: MetaLearner, tasks: list[SourceTask], device: torch.device, steps: int = STEPS, **more: Any
) -> list[OuterStepReport]:
    config = MetaTrainingConfig(steps=steps, validate_every=2)
    with on_device(learner, device):
        return meta_train(learner, tasks, config, validate=lambda: {"score": float(scores(learner).sum())}, **more)


def assert_equal_reports(reports: list[OuterStepReport], expected: list[OuterStepReport], rtol: float = 1e-4) -> None:
    """Equal losses and figures of every step, but for rounding."""
    assert len(reports) == len(expected)
    for mine, other in zip(reports, expected, strict=True):
        assert mine.figures | {"loss": mine.loss} == pytest.approx(other.figures | {"loss": other.loss}, rel=rtol)
