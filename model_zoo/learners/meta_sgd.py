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

from model_zoo.learning.inner_loop import bounded_rates
from model_zoo.learning.learned_start import LearnedStart, LearnedStartConfig
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class MetaSgdConfig(LearnedStartConfig):
    """`rate` and `trunk_inner_rate` are where learned rates start; `factor` times that is the most they can reach."""

    factor: float = 4.0


class MetaSgdLearner(LearnedStart):
    """See the module."""

    name = "meta_sgd"

    def __init__(self, spec: BackboneSpec, config: MetaSgdConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.most = {name: config.factor * float(rate) for name, rate in super().rates().items()}
        raw = torch.logit(torch.tensor(1 / config.factor))
        self.raw_rates = nn.ParameterList(nn.Parameter(raw.expand(p.shape).clone()) for p in self.start().values())

    def rates(self) -> dict[str, Tensor | float]:
        """The learned rate of every parameter that adapts, by name, each of that parameter's shape."""
        return bounded_rates(dict(zip(self.start(), self.raw_rates, strict=True)), self.most)
