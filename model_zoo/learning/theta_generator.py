"""What the generative learners share: a theta written from the set encoding, then refined on the support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from model_zoo.heads.invariant_inputs import scalar_channels
from model_zoo.learning.inner_loop import LossOf, Parameters, adaptation_loop, near
from model_zoo.learning.set_encoder import encode_set, encoding_size
from model_zoo.learning.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.learning.tasks import TaskInputs
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class ThetaGeneratorConfig(TaskLearnerConfig):
    """Settings of every learner that generates theta.

    Args:
        hidden: width of its networks.
        steps, rate: of the inner loop that refines the generated theta.
        proximal: weight of the squared distance to the generated theta in that loop, in units of theta's scale.
    """

    hidden: int = 64
    steps: int = 5
    rate: float = 0.1
    proximal: float = 0.02


class ThetaGenerator(TaskLearner):
    """Base of the learners that generate theta."""

    def __init__(self, spec: BackboneSpec, config: ThetaGeneratorConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.generation = config
        self.encoding_size = encoding_size(scalar_channels(spec))

    def encode(self, support: TaskInputs) -> Tensor:
        """c, the set encoding of a support (E,)."""
        return encode_set(self.trunk, support)

    def theta_from(self, update_P: Tensor) -> Tensor:
        """Theta (P,) of a generated update (P,), which is in units of theta's scale."""
        return self.theta0 + update_P * self.theta_scale

    def refined(
        self, theta_P: Tensor, loss: LossOf, *, training: bool, rates: Mapping[str, Tensor | float] | None = None
    ) -> Parameters:
        """A few steps on the support loss from a generated theta; guarded on a new line.

        There the generated theta, a step from theta0 like any other, is itself taken only if it lowers the loss.
        """
        if not training:
            theta_P = min(self.theta0, theta_P, key=lambda theta: float(loss({"theta": theta}).detach()))
        start = {"theta": theta_P}
        return adaptation_loop(
            start,
            near(start, loss, unit=self.theta_scale, weight=self.generation.proximal),
            steps=self.generation.steps,
            rates=rates or {"theta": self.generation.rate},
            training=training,
        )
