"""What MAML, Meta-SGD and Reptile share: a few gradient steps on the support from a learned initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from model_zoo.learning.inner_loop import Parameters, adaptation_loop
from model_zoo.learning.task_learner import Adapts, TaskLearner, TaskLearnerConfig
from model_zoo.learning.tasks import TaskInputs
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class LearnedStartConfig(TaskLearnerConfig):
    """Inner loop settings.

    Args:
        steps: inner steps.
        rate: of theta. trunk_inner_rate: of the trunk's last convolution.
        proximal: weight of the squared distance to the initialisation in the support loss, in units of theta's scale.
    """

    steps: int = 5
    rate: float = 0.1
    trunk_inner_rate: float = 0.02
    proximal: float = 0.02


class LearnedStart(TaskLearner):
    """Base of the learners that meta-learn where the inner loop starts."""

    adapts: Adapts = "local"
    order: Literal[1, 2] = 2
    """2: the outer gradient goes through the inner steps, 1: it does not."""

    def __init__(self, spec: BackboneSpec, config: LearnedStartConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.inner = config

    def start(self) -> Parameters:
        """The initialisation of what adapts."""
        return self.initial_parameters(self.adapts)

    def rates(self) -> dict[str, Tensor | float]:
        """The inner rate of every parameter that adapts, by name."""
        return {name: self.inner.rate if name == "theta" else self.inner.trunk_inner_rate for name in self.start()}

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """A few steps from the initialisation; guarded on a new line."""
        loss = self.support_loss(support, self.adapts, proximal=self.inner.proximal)
        steps, rates = self.inner.steps, self.rates()
        return adaptation_loop(self.start(), loss, steps=steps, rates=rates, training=training, order=self.order), 0.0
