"""The learned head: a trunk shared by all lines, and a small vector theta that belongs to one line.

    logit = s * log_base + w . relu((conv(trunk(inputs))) * (1 + gamma) + beta) + b

It starts as the memory bank (w = 0): what is learned can only be added to nearest neighbours.

Shape letters: B images, D scalar channels, C a level's channels, T trunk width, H x W the finest grid, P theta's size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.invariant_inputs import HeadInputs

TRUNK_WIDTH = 32
DEFECTIVE_SHARE = 0.25
"""A cell counts as defective above this share of its area."""
_LEVEL_WIDTH = 16
THETA_SIZE = 3 * TRUNK_WIDTH + 2


class ThetaParts(NamedTuple):
    """theta's parts: FiLM gamma (T,) and beta (T,), weights w (T,), bias b and base weight s (scalars)."""

    gamma: Tensor
    beta: Tensor
    w: Tensor
    b: Tensor
    s: Tensor


def split_theta(theta_P: Tensor) -> ThetaParts:
    """The parts of theta (P,)."""
    T = TRUNK_WIDTH
    return ThetaParts(theta_P[:T], theta_P[T : 2 * T], theta_P[2 * T : 3 * T], theta_P[3 * T], theta_P[3 * T + 1])


def initial_theta() -> Tensor:
    """Theta of a head that equals the memory bank: w = 0, b = -4, s = 2 (P,)."""
    return torch.cat([torch.zeros(3 * TRUNK_WIDTH), torch.tensor([-4.0, 2.0])])


def theta_scale() -> Tensor:
    """The size of a typical change of each entry of theta (P,), the unit of generated updates and proximal terms."""
    return torch.cat([torch.full((3 * TRUNK_WIDTH,), 0.3), torch.ones(2)])


class HeadTrunk(nn.Module):
    """Head inputs to T channels on the finest grid. About 15 k parameters with the default backbone.

    Args:
        scalar_channels: D. level_channels: C of each level. generator: of the initial weights.
    """

    def __init__(self, scalar_channels: int, level_channels: tuple[int, ...], *, generator: torch.Generator) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(channels, _LEVEL_WIDTH, 1) for channels in level_channels)
        self.mix = nn.Conv2d(scalar_channels + _LEVEL_WIDTH * len(level_channels), TRUNK_WIDTH, 1)
        self.local = nn.Conv2d(TRUNK_WIDTH, TRUNK_WIDTH, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                fan_in = layer.weight[0].numel()
                with torch.no_grad():
                    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * (2 / fan_in) ** 0.5)
                nn.init.zeros_(layer.bias) if layer.bias is not None else None

    def embed(self, inputs: HeadInputs) -> Tensor:
        """Channels before the 3 x 3 convolution (B, T, H, W): what set encoders read."""
        scalars = inputs.scalars.clamp(-3.0, 3.0)
        parts = [scalars]
        for layer, residual in zip(self.levels, inputs.residuals, strict=True):
            level = F.relu(layer(torch.log1p(residual) - 0.69))
            if level.shape[-2:] != scalars.shape[-2:]:
                level = F.interpolate(level, scalars.shape[-2:], mode="bilinear", align_corners=False)
            parts.append(level * 0.5)
        return F.relu(self.mix(torch.cat(parts, 1)))

    def forward(self, inputs: HeadInputs) -> Tensor:
        """Channels that theta modulates (B, T, H, W)."""
        return self.local(self.embed(inputs))


def apply_theta(theta: Tensor, trunk_BTHW: Tensor, log_base_BHW: Tensor) -> Tensor:
    """Logits (B, H, W) of a theta (P,), or the mean of the logits of several (M, P)."""
    if theta.ndim == 2:
        return torch.stack([apply_theta(one, trunk_BTHW, log_base_BHW) for one in theta]).mean(0)
    parts = split_theta(theta)
    modulated = F.relu(trunk_BTHW * (1 + parts.gamma[:, None, None]) + parts.beta[:, None, None])
    return parts.s * log_base_BHW + (modulated * parts.w[:, None, None]).sum(1) + parts.b


def image_score(logits_BHW: Tensor) -> Tensor:
    """Image scores (B,): the mean of the map's maximum and of its highest 1 % of cells."""
    flat = logits_BHW.flatten(1)
    top = flat.topk(max(1, round(flat.shape[1] * 0.01)), dim=1).values
    return 0.5 * top[:, 0] + 0.5 * top.mean(1)


class Targets(NamedTuple):
    """What B images ought to score: defect fraction of each cell (B, H, W), labels (B,) bool, has_mask (B,) bool,
    weight (B,) of each image in the loss.
    """

    fractions: Tensor
    labels: Tensor
    has_mask: Tensor
    weight: Tensor


def anomaly_loss(logits_BHW: Tensor, targets: Targets) -> Tensor:
    """Balanced pixel cross-entropy plus 0.3 times the balanced image cross-entropy (a scalar).

    Cells that are defective in part, up to `DEFECTIVE_SHARE`, are left out as ambiguous. An image without
    a mask takes part by its label only, through its highest cells (multiple-instance learning).
    """
    defective = (targets.fractions > DEFECTIVE_SHARE).float()
    known = ((targets.fractions == 0) | (targets.fractions > DEFECTIVE_SHARE)).float() * targets.has_mask[
        :, None, None
    ].float()
    weight = targets.weight[:, None, None] * known
    bce = F.binary_cross_entropy_with_logits(logits_BHW, defective, reduction="none") * weight
    positive = (bce * defective).sum() / ((defective * weight).sum() + 1)
    negative = (bce * (1 - defective)).sum() / (((1 - defective) * weight).sum() + 1)
    pixel = 0.5 * positive + 0.5 * negative + 0.5 * bce.mean()
    top = logits_BHW.flatten(1).topk(5, dim=1).values.mean(1)
    labels = targets.labels.float()
    image = F.binary_cross_entropy_with_logits(top, labels, reduction="none")
    bad, good = labels.sum().clamp_min(1), (1 - labels).sum().clamp_min(1)
    return pixel + 0.3 * (0.5 * (image * labels).sum() / bad + 0.5 * (image * (1 - labels)).sum() / good)
