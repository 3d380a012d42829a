"""MAML-GAN: a generator writes thetas that a discriminator cannot tell from those a long fit would end at.

    theta = theta0 + G(c, z) * scale, z ~ N(0, I), refined by a few inner steps
    loss of G = query loss after the inner steps + 0.02 * softplus(-D(theta, c))
    loss of D = softplus(-D(theta*, c)) + softplus(D(theta, c))

theta* is the long fit of `learning.task_optimum`. A new line takes, of a few z, the one whose theta has the least
support loss. 'MAML-GAN' is a name of the source texts without a published algorithm; this definition is ours. The
losses are those of Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014 (the non-saturating one for G),
conditioned on c as by Mirza & Osindero, "Conditional Generative Adversarial Nets", 2014.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.task_head import THETA_SIZE
from model_zoo.learning.inner_loop import Parameters
from model_zoo.learning.set_encoder import small_mlp
from model_zoo.learning.task_optimum import OptimumGuided, OptimumGuidedConfig
from model_zoo.learning.tasks import PreparedTask, TaskInputs
from pipeline.distributed import average_gradients
from pipeline.features import BackboneSpec
from pipeline.learner import OuterStepReport


@dataclass(frozen=True, kw_only=True)
class MamlGanConfig(OptimumGuidedConfig):
    """Settings of the generator and the discriminator.

    Args:
        noise: length of z. candidates: how many z a new line tries.
        adversarial_weight: of the discriminator's verdict in the generator's loss.
        discriminator_rate: Adam's, of the discriminator.
    """

    noise: int = 16
    candidates: int = 8
    adversarial_weight: float = 0.02
    discriminator_rate: float = 2e-3


def generator_loss(fake_logit: Tensor) -> Tensor:
    """-log sigmoid(D(fake)), the mean over any shape: low where the discriminator takes the fake for real."""
    return F.softplus(-fake_logit).mean()


def discriminator_loss(real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """-log sigmoid(D(real)) - log(1 - sigmoid(D(fake))), the mean over any shape."""
    return (F.softplus(-real_logit) + F.softplus(fake_logit)).mean()


class _Pair(NamedTuple):
    """What the discriminator learns from: the updates of theta* and of the generator, each (P,), and c (E,)."""

    real: Tensor
    fake: Tensor
    encoding: Tensor


class MamlGanLearner(OptimumGuided):
    """See the module."""

    name = "maml_gan"

    def __init__(self, spec: BackboneSpec, config: MamlGanConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.gan = config
        self.generator = small_mlp(
            (self.encoding_size + config.noise, config.hidden, THETA_SIZE), last_gain=0.1, generator=self._generator
        )
        self.discriminator = small_mlp(
            (THETA_SIZE + self.encoding_size, config.hidden, 1), last_gain=0.1, generator=self._generator
        )
        self._discriminator_optimiser = torch.optim.Adam(
            self.discriminator.parameters(), lr=config.discriminator_rate, betas=(0.5, 0.9)
        )
        self._pairs: list[_Pair] = []

    def own_parameters(self) -> list[nn.Parameter]:
        """The generator's: the discriminator has its own optimiser."""
        return list(self.generator.parameters())

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """The theta of one z in training, of the best of some z on a new line, refined; and the adversarial loss."""
        loss = self.support_loss(support, "theta")
        c = self.encode(support)
        if training:
            update = self._generated(c, self._generator)
            theta = self.theta_from(update)
            self._pairs.append(_Pair(self.optimal_update(support), update.detach(), c.detach()))
            return self.refined(theta, loss, training=True), self.gan.adversarial_weight * self._verdict(update, c)
        thetas = [self.theta_from(self._generated(c, None)) for _ in range(self.gan.candidates)]
        best = min(thetas, key=lambda theta: float(loss({"theta": theta}).detach()))
        return self.refined(best, loss, training=False), 0.0

    def outer_step(self, tasks: Sequence[PreparedTask]) -> OuterStepReport:
        """The generator's step, then one of the discriminator on what was generated."""
        self._pairs = []
        report = super().outer_step(tasks)
        if not self._pairs:  # the pooled steps generate nothing
            return report
        real, fake, encoding = (torch.stack(column) for column in zip(*self._pairs, strict=True))
        loss = discriminator_loss(
            self.discriminator(torch.cat([real, encoding], 1)), self.discriminator(torch.cat([fake, encoding], 1))
        )
        loss.backward()
        average_gradients(self.discriminator.parameters())
        self._discriminator_optimiser.step()
        self._discriminator_optimiser.zero_grad()
        return OuterStepReport(loss=report.loss, figures=report.figures | {"discriminator_loss": float(loss.detach())})

    def outer_state(self) -> dict[str, Any]:
        """Also the discriminator's optimiser."""
        return super().outer_state() | {"discriminator": self._discriminator_optimiser.state_dict()}

    def load_outer_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `outer_state`."""
        super().load_outer_state(state)
        self._discriminator_optimiser.load_state_dict(state["discriminator"])

    def _generated(self, c: Tensor, generator: torch.Generator | None) -> Tensor:
        """G(c, z) of a fresh z (P,), in units of theta's scale."""
        z = torch.randn(self.gan.noise, generator=generator).to(c.device)
        return self.generator(torch.cat([c, z]))

    def _verdict(self, update: Tensor, c: Tensor) -> Tensor:
        """The generator's adversarial loss. Its gradient passes through the discriminator and leaves it unchanged."""
        frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        return generator_loss(torch.func.functional_call(self.discriminator, frozen, (torch.cat([update, c]),)))
