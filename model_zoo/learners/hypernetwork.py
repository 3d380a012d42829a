"""Hypernetwork: a network that reads the support set and writes the line's theta, refined by a few inner steps.

theta = theta0 + G(c(support)) * scale, then `steps` guarded gradient steps.

The plain one: unlike the learners on `learning.theta_generator` it starts a new line at the generated theta even where
theta0 has the lower support loss, and no proximal term holds the steps back.

Sources: Ha, Dai & Le, "HyperNetworks", ICLR 2017; Przewięźlikowski et al., "HyperMAML", 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from model_zoo.heads.invariant_inputs import scalar_channels
from model_zoo.heads.task_head import THETA_SIZE
from model_zoo.learning.inner_loop import Parameters, adaptation_loop
from model_zoo.learning.set_encoder import encode_set, encoding_size, small_mlp
from model_zoo.learning.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.learning.tasks import TaskInputs
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class HypernetworkConfig(TaskLearnerConfig):
    """`hidden`: width of G. `steps`, `rate`: of the inner loop after it (0 steps: the generated theta as it is)."""

    hidden: int = 64
    steps: int = 5
    rate: float = 0.1


class HypernetworkLearner(TaskLearner):
    """See the module."""

    name = "hypernetwork"

    def __init__(self, spec: BackboneSpec, config: HypernetworkConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.hypernetwork = config
        sizes = (encoding_size(scalar_channels(spec)), config.hidden, THETA_SIZE)
        self.generate = small_mlp(sizes, last_gain=0.1, generator=self._generator)

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """The generated theta, refined; guarded on a new line."""
        theta = self.theta0 + self.generate(encode_set(self.trunk, support)) * self.theta_scale

        loss = self.support_loss(support, "theta")
        rates: dict[str, Tensor | float] = {"theta": self.hypernetwork.rate}
        steps = self.hypernetwork.steps
        return adaptation_loop({"theta": theta}, loss, steps=steps, rates=rates, training=training), 0.0
