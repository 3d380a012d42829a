"""ABML: a Gaussian over theta instead of one theta; the prior is learned over lines, the posterior adapted to one.

    prior p(theta) = N(theta0, sigma0^2), posterior q = N(mean, sigma^2), which starts as the prior and takes a few
    gradient steps on  E_q[support loss] + kl_weight * KL(q || p)  (the negative evidence lower bound)

Source: Ravi & Beatson, "Amortized Bayesian Meta-Learning", ICLR 2019 (section 3, algorithm 1). The expectation is a
mean over a few draws of theta whose noise is fixed for the line, so that a step can be judged by whether the loss
falls; the head averages the logits of these same draws. Departures: the outer loss is that of the averaged logits on
the query alone (the paper: of each draw, on support and query), and sigma0 has no hyperprior: the outer loop is short.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_zoo.heads.task_head import THETA_SIZE, theta_scale
from model_zoo.learning.gaussians import Gaussian, kl_divergence
from model_zoo.learning.inner_loop import LossOf, Parameters, adaptation_loop
from model_zoo.learning.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.learning.tasks import TaskInputs
from pipeline.features import BackboneSpec


def draws(gaussians: Parameters, noise: Mapping[str, Tensor]) -> Parameters:
    """S draws, every tensor (S, ...), of Gaussians (2, ...): row 0 the means, row 1 the log standard deviations."""
    return {name: value[0] + value[1].exp() * noise[name] for name, value in gaussians.items()}


def total_kl(q: Parameters, p: Parameters) -> Tensor:
    """KL(q || p) of Gaussians as in `draws`, in nats over all tensors together."""
    return torch.stack([kl_divergence(Gaussian(*q[name]), Gaussian(*p[name])).sum() for name in q]).sum()


def free_energy(loss_of_draws: LossOf, prior: Parameters, noise: Mapping[str, Tensor], *, kl_weight: float) -> LossOf:
    """The inner loss as a function of the posterior: the loss of its draws plus kl_weight * KL(posterior || prior)."""
    return lambda q: loss_of_draws(draws(q, noise)) + kl_weight * total_kl(q, prior)


@dataclass(frozen=True, kw_only=True)
class AbmlConfig(TaskLearnerConfig):
    """Prior and inner loop.

    Args:
        draws: S, of theta, in the losses and in the head.
        spread: sigma0 before meta-training, in units of theta's scale.
        kl_weight: of the KL term beside the mean support loss: one over the number of independent observations.
        steps: inner steps. rate: of the mean. log_sigma_rate: of the log standard deviation.
    """

    draws: int = 5
    spread: float = 0.1
    kl_weight: float = 1e-3
    steps: int = 5
    rate: float = 0.1
    log_sigma_rate: float = 0.1


class AbmlLearner(TaskLearner):
    """See the module."""

    name = "abml"
    rates: Tensor

    def __init__(self, spec: BackboneSpec, config: AbmlConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.abml = config
        self.log_sigma0 = nn.Parameter((config.spread * theta_scale()).log())
        rates = torch.tensor([[config.rate], [config.log_sigma_rate]])
        self.register_buffer("rates", rates, persistent=False)

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """Draws (S, P) of the adapted posterior, and the weighted KL divergence; guarded on a new line."""
        prior: Parameters = {"theta": torch.stack([self.theta0, self.log_sigma0])}
        generator = self._generator if training else None  # on a new line `adapt` has seeded the global one
        noise = {"theta": torch.randn(self.abml.draws, THETA_SIZE, generator=generator).to(self.device)}
        loss = self.support_loss(support, "theta")

        def mean_loss(thetas: Parameters) -> Tensor:
            return torch.stack([loss({"theta": one}) for one in thetas["theta"]]).mean()

        inner = free_energy(mean_loss, prior, noise, kl_weight=self.abml.kl_weight)
        rates: dict[str, Tensor | float] = {"theta": self.rates}
        posterior = adaptation_loop(prior, inner, steps=self.abml.steps, rates=rates, training=training)
        return draws(posterior, noise), self.abml.kl_weight * total_kl(posterior, prior)
