"""LEO: the inner loop runs in a short latent code z that a decoder turns into theta, then a little in theta itself.

    z ~ q(z | support) = N(mu(c), sigma(c)^2),   z' = z - rate * dL_S(theta(z)) / dz  (several steps),
    theta(z) = theta0 + D z * scale,             theta' = theta(z'), then a few steps in theta

Outer objective: the query loss of theta' + beta * KL(q || N(0, I)) + gamma * |stopgrad(z') - z|^2 + lambda * R(D).
The gamma term teaches the encoder to start where the latent steps end.

Source: Rusu et al., "Meta-Learning with Latent Embedding Optimization", ICLR 2019 (algorithm 1, section 2.3). As there,
decoder D is linear and R keeps its latent directions uncorrelated. Left out: the relation network (the set encoding
already mixes all patches of the support), a code for each class (theta is one vector), the variance of theta given z,
learned inner rates and weight decay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.task_head import THETA_SIZE
from model_zoo.learning.gaussians import gaussian_from, kl_divergence, standard_gaussian
from model_zoo.learning.inner_loop import Parameters, adaptation_loop, near
from model_zoo.learning.set_encoder import small_mlp
from model_zoo.learning.tasks import TaskInputs
from model_zoo.learning.theta_generator import ThetaGenerator, ThetaGeneratorConfig
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class LeoConfig(ThetaGeneratorConfig):
    """Settings of the latent loop and of the outer objective.

    Args:
        latent: length of z.
        latent_steps, latent_rate: of the steps in z; `steps` and `rate` are those in theta after it.
        start_std: of q before training.
        kl_weight: beta, for a KL in nats. encoder_weight: gamma. orthogonality_weight: lambda.
    """

    latent: int = 16
    latent_steps: int = 5
    latent_rate: float = 1.0
    steps: int = 2
    start_std: float = 0.4
    kl_weight: float = 0.01
    encoder_weight: float = 0.01
    orthogonality_weight: float = 0.1


def latent_steps(
    z: Tensor, loss_of_z: Callable[[Tensor], Tensor], *, steps: int, rate: float, proximal: float, training: bool
) -> Tensor:
    """Z' after some steps down the support loss of z (n,), proximal to where they began; guarded on a new line."""
    start = {"z": z}
    loss = near(start, lambda parameters: loss_of_z(parameters["z"]), unit=1.0, weight=proximal)
    return adaptation_loop(start, loss, steps=steps, rates={"z": rate}, training=training)["z"]


def encoder_penalty(z: Tensor, adapted_z: Tensor) -> Tensor:
    """|stopgrad(z') - z|^2."""
    return (adapted_z.detach() - z).square().sum()


def orthogonality_penalty(weight_PL: Tensor) -> Tensor:
    """|C - I|^2 / L^2, C: cosines between the latent directions, the columns of a decoder's weight (P, L)."""
    directions = F.normalize(weight_PL, dim=0)
    identity = torch.eye(weight_PL.shape[1], device=weight_PL.device)
    return (directions.T @ directions - identity).square().mean()


class LeoLearner(ThetaGenerator):
    """See the module."""

    name = "leo"

    def __init__(self, spec: BackboneSpec, config: LeoConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.leo = config
        self.encoder = small_mlp(
            (self.encoding_size, config.hidden, 2 * config.latent), last_gain=0.1, generator=self._generator
        )
        self.decoder = nn.Linear(config.latent, THETA_SIZE, bias=False)  # theta0 is the bias
        with torch.no_grad():
            self.decoder.weight.copy_(0.05 * torch.randn(THETA_SIZE, config.latent, generator=self._generator))

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """Steps in z from a sample in training, from the mean on a new line, then steps in theta; and the penalties."""
        leo, loss = self.leo, self.support_loss(support, "theta")
        posterior = gaussian_from(self.encoder(self.encode(support)), start_std=leo.start_std)
        z = posterior.sample(self._generator) if training else posterior.mean
        adapted_z = latent_steps(
            z,
            lambda code: loss({"theta": self.theta_from(self.decoder(code))}),
            steps=leo.latent_steps,
            rate=leo.latent_rate,
            proximal=leo.proximal,
            training=training,
        )
        penalties = (
            leo.kl_weight * kl_divergence(posterior, standard_gaussian(leo.latent, self.device))
            + leo.encoder_weight * encoder_penalty(z, adapted_z)
            + leo.orthogonality_weight * orthogonality_penalty(self.decoder.weight)
        )
        return self.refined(self.theta_from(self.decoder(adapted_z)), loss, training=training), penalties
