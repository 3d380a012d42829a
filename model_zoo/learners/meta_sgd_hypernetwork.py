"""Meta-SGD-HN: a network reads the support set and writes theta and the rates of the inner loop that refines it.

    theta = theta0 + G_theta(c) * scale,    rate_j = rate * f^tanh(G_rate(c)_j)

'Meta-SGD-HN' is a name of the source texts without a published algorithm; this definition is ours. It joins Meta-SGD
(Li et al., 2017: one learned rate for each parameter) with a hypernetwork (Ha, Dai & Le, ICLR 2017). Rates stay within
a factor f of the plain one: free ones turn a line's ranking upside down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model_zoo.heads.task_head import THETA_SIZE
from model_zoo.learning.inner_loop import Parameters
from model_zoo.learning.set_encoder import small_mlp
from model_zoo.learning.tasks import TaskInputs
from model_zoo.learning.theta_generator import ThetaGenerator, ThetaGeneratorConfig
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class MetaSgdHypernetworkConfig(ThetaGeneratorConfig):
    """`rate_factor`: f, by which a generated rate may differ from `rate` at most, up or down."""

    rate_factor: float = 5.0


def rates_around(raw: Tensor, *, rate: float, factor: float) -> Tensor:
    """Positive rates within [rate / factor, rate * factor] from a network's output of any size."""
    return rate * torch.exp(math.log(factor) * torch.tanh(raw))


class MetaSgdHypernetworkLearner(ThetaGenerator):
    """See the module."""

    name = "meta_sgd_hn"

    def __init__(self, spec: BackboneSpec, config: MetaSgdHypernetworkConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.meta_sgd_hn = config
        sizes = (self.encoding_size, config.hidden, 2 * THETA_SIZE)
        self.generate = small_mlp(sizes, last_gain=0.1, generator=self._generator)

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """The generated theta, refined with the generated rates; guarded on a new line."""
        update, raw_rates = self.generate(self.encode(support)).chunk(2)
        rates = rates_around(raw_rates, rate=self.generation.rate, factor=self.meta_sgd_hn.rate_factor)
        loss = self.support_loss(support, "theta")
        return self.refined(self.theta_from(update), loss, training=training, rates={"theta": rates}), 0.0
