"""Diagonal Gaussians: what latent codes and generated parameters are drawn from."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_LOG_STD_RANGE = 3.0  # a standard deviation stays within exp(+-3) of its start


class Gaussian(NamedTuple):
    """N(mean, diag(exp(log_std))^2), both (..., n)."""

    mean: Tensor
    log_std: Tensor

    def sample(self, generator: torch.Generator | None) -> Tensor:
        """Mean + std * noise (..., n), differentiable in both (Kingma & Welling, ICLR 2014, section 2.4)."""
        return self.mean + self.log_std.exp() * torch.randn(self.mean.shape, generator=generator).to(self.mean.device)

    def log_density(self, value: Tensor) -> Tensor:
        """The log density of each entry of a value (..., n), in nats."""
        standardised = (value - self.mean) / self.log_std.exp()
        return -0.5 * standardised.square() - self.log_std - 0.5 * math.log(2 * math.pi)


def gaussian_from(raw: Tensor, *, start_std: float) -> Gaussian:
    """A network's output (..., 2 n) as mean and bounded log standard deviation; an output of zero means `start_std`."""
    mean, raw_log_std = raw.chunk(2, dim=-1)
    return Gaussian(mean, math.log(start_std) + _LOG_STD_RANGE * torch.tanh(raw_log_std / _LOG_STD_RANGE))


def standard_gaussian(size: int, device: torch.device | None = None) -> Gaussian:
    """N(0, I) of `size` entries, on a device (None: the CPU)."""
    return Gaussian(torch.zeros(size, device=device), torch.zeros(size, device=device))


def kl_divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) in nats, summed over the entries (...)."""
    spread = (2 * (q.log_std - p.log_std)).exp()
    distance = ((q.mean - p.mean) / p.log_std.exp()).square()
    return (0.5 * (spread + distance - 1) - (q.log_std - p.log_std)).sum(-1)
