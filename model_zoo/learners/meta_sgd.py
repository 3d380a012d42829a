"""Meta-SGD: MAML with a learned rate for every single parameter.

    theta' = theta - alpha * dL(theta) / dtheta, alpha of theta's shape, learned with theta

Source: Li, Zhou, Chen & Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017 (eq. 3, algorithm 1).
Two departures. The paper's alpha is free, and so may be negative or large; ours lies between 0 and four times MAML's
rate, because with free ones a line's ranking was turned upside down. And the paper takes one step; ours takes
as many as MAML, all with the same alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_zoo.inner_loop import Parameters, adaptation_loop, bounded_rates
from model_zoo.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.tasks import TaskInputs
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class MetaSgdConfig(TaskLearnerConfig):
    """Inner loop settings.

    Args:
        steps: inner steps.
        most: bound of theta's rates. trunk_most: of those of the trunk's last convolution.
        first: where all rates start, as a share of their bound.
        proximal: weight of the squared distance to the initialisation in the support loss, in units of theta's scale.
    """

    steps: int = 5
    most: float = 0.4
    trunk_most: float = 0.08
    first: float = 0.25
    proximal: float = 0.02


class MetaSgdLearner(TaskLearner):
    """See the module."""

    name = "meta_sgd"

    def __init__(self, spec: BackboneSpec, config: MetaSgdConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.meta_sgd = config
        raw = torch.logit(torch.tensor(config.first))
        self.raw_rates = nn.ParameterList(
            nn.Parameter(raw.expand(value.shape).clone()) for value in self.initial_parameters("local").values()
        )

    def rates(self) -> dict[str, Tensor | float]:
        """The learned rate of every parameter that adapts, by name, each of that parameter's shape."""
        raw = dict(zip(self.initial_parameters("local"), self.raw_rates, strict=True))
        most = {name: self.meta_sgd.most if name == "theta" else self.meta_sgd.trunk_most for name in raw}
        return bounded_rates(raw, most)

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """A few steps at the learned rates; guarded on a new line."""
        start, rates = self.initial_parameters("local"), self.rates()
        loss = self.support_loss(support, "local", proximal=self.meta_sgd.proximal)
        return adaptation_loop(start, loss, steps=self.meta_sgd.steps, rates=rates, training=training), 0.0
