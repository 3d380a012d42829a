"""Attentive neural process: predictions at target points from labelled context points, without any gradient step.

    path 1: r(x) = sum_i softmax_i(k(x) . k(x_i) / sqrt(d)) v(x_i, y_i)        cross-attention to the context
    path 2: z ~ q(z | points) = N from the mean of h(x_i, y_i)                  one code for the whole function
    prediction = decoder(x, r(x), z)

Trained with z ~ q(z | context and targets) and a KL that draws q(z | context), used on a new line, towards it.

Source: Kim et al., "Attentive Neural Processes", ICLR 2019 (section 3). Left out: self-attention within the context,
several attention heads. The attention is plain matrix products: fused kernels have no double backward.

Shape letters: N context points, Q target points, X size of x, A attention width, Z size of z.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model_zoo.learning.gaussians import Gaussian, gaussian_from
from model_zoo.learning.set_encoder import small_mlp


class Points(NamedTuple):
    """Labelled points: x (N, X), y (N,), valid (N,) bool. Rows that are not valid are padding; one at least is."""

    x: Tensor
    y: Tensor
    valid: Tensor


def join(first: Points, second: Points) -> Points:
    """All points of both."""
    return Points(*(torch.cat(columns) for columns in zip(first, second, strict=True)))


def cross_attention(queries_QA: Tensor, keys_NA: Tensor, values_NA: Tensor, valid_N: Tensor) -> Tensor:
    """Scaled dot-product attention (Q, A) to the valid rows (Vaswani et al., NeurIPS 2017, eq. 1)."""
    scores = queries_QA @ (keys_NA.T / keys_NA.shape[1] ** 0.5)
    return scores.masked_fill(~valid_N, -1e9).softmax(-1) @ values_NA


class AttentiveProcess(nn.Module):
    """See the module.

    Args:
        x_size: X. width: A. hidden: of its networks. latent: Z. start_std: of q before training.
        generator: of the initial weights.
    """

    def __init__(
        self, x_size: int, *, width: int, hidden: int, latent: int, start_std: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.start_std = start_std
        self.key = small_mlp((x_size, hidden, width), last_gain=1.0, generator=generator)
        self.value = small_mlp((x_size + 1, hidden, width), last_gain=1.0, generator=generator)
        self.latent_value = small_mlp((x_size + 1, hidden, hidden), last_gain=1.0, generator=generator)
        self.latent = small_mlp((hidden, 2 * latent), last_gain=0.1, generator=generator)
        self.decoder = small_mlp((x_size + width + latent, hidden, 1), last_gain=0.1, generator=generator)

    def posterior(self, points: Points) -> Gaussian:
        """q(z | points), each part (Z,)."""
        values = self.latent_value(_labelled(points))
        weight = points.valid.float()[:, None]
        return gaussian_from(self.latent((values * weight).sum(0) / weight.sum()), start_std=self.start_std)

    def forward(self, x_QX: Tensor, context: Points, z: Tensor) -> Tensor:
        """Predictions at the targets (Q,)."""
        r = cross_attention(self.key(x_QX), self.key(context.x), self.value(_labelled(context)), context.valid)
        code = z.expand(x_QX.shape[0], -1)  # len() would fix the number of targets in an exported graph
        return self.decoder(torch.cat([x_QX, r, code], 1))[:, 0]


def _labelled(points: Points) -> Tensor:
    return torch.cat([points.x, points.y[:, None]], 1)
