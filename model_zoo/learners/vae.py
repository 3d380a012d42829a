"""VAE: the support set is encoded as a distribution over a short code z, and a decoder writes theta from z.

    q(z | support) = N(mu(c), sigma(c)^2),    theta = theta0 + decoder(z) * scale

Outer objective, amortised: the query loss after adaptation with z ~ q, plus beta * KL(q || N(0, I)). A new line takes
the mean of q. What is reconstructed is not theta but the query labels, so this is a conditional VAE of tasks.

Sources: Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014; for tasks, Gordon et al., "Meta-Learning
Probabilistic Inference for Prediction", ICLR 2019. The inner steps after the decoder are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from model_zoo.heads.task_head import THETA_SIZE
from model_zoo.learning.gaussians import gaussian_from, kl_divergence, standard_gaussian
from model_zoo.learning.inner_loop import Parameters
from model_zoo.learning.set_encoder import small_mlp
from model_zoo.learning.tasks import TaskInputs
from model_zoo.learning.theta_generator import ThetaGenerator, ThetaGeneratorConfig
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class VaeConfig(ThetaGeneratorConfig):
    """`latent`: length of z. `start_std`: of q before training. `kl_weight`: beta, for a KL in nats."""

    latent: int = 16
    start_std: float = 0.4
    kl_weight: float = 0.01


class VaeLearner(ThetaGenerator):
    """See the module."""

    name = "vae"

    def __init__(self, spec: BackboneSpec, config: VaeConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.vae = config
        self.encoder = small_mlp(
            (self.encoding_size, config.hidden, 2 * config.latent), last_gain=0.1, generator=self._generator
        )
        self.decoder = small_mlp((config.latent, config.hidden, THETA_SIZE), last_gain=0.1, generator=self._generator)

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """The theta of a sampled z in training, of the mean on a new line, refined; and the weighted KL."""
        posterior = gaussian_from(self.encoder(self.encode(support)), start_std=self.vae.start_std)
        z = posterior.sample(self._generator) if training else posterior.mean
        theta = self.theta_from(self.decoder(z))
        kl = kl_divergence(posterior, standard_gaussian(self.vae.latent, self.device))
        loss = self.support_loss(support, "theta")
        return self.refined(theta, loss, training=training), self.vae.kl_weight * kl
