"""Set encoding: one vector that says what a support set looks like, whatever its size and order."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.invariant_inputs import HeadInputs
from model_zoo.heads.task_head import DEFECTIVE_SHARE, TRUNK_WIDTH, HeadTrunk
from model_zoo.learning.tasks import TaskInputs


def encoding_size(scalar_channels: int) -> int:
    """Length E of the set encoding."""
    return 4 * (TRUNK_WIDTH + scalar_channels)


def cell_features(trunk: HeadTrunk, inputs: HeadInputs) -> Tensor:
    """What a cell looks like: its embedding and its scalars (B, T + D, H, W)."""
    return torch.cat([trunk.embed(inputs), inputs.scalars.clamp(-3.0, 3.0)], 1)


def encode_set(trunk: HeadTrunk, support: TaskInputs) -> Tensor:
    """Mean and standard deviation of the normal and of the defective cells' embeddings, normalised (E,).

    Cells of images without a mask take no part. Without defective cells (not even synthetic ones) their half is zero.
    """
    embedding = cell_features(trunk, support.inputs)
    known = support.targets.has_mask[:, None, None]
    defective = ((support.targets.fractions > DEFECTIVE_SHARE) & known).float()[:, None]
    normal = ((support.targets.fractions <= DEFECTIVE_SHARE) & known).float()[:, None]
    parts = []
    for weight in (normal, defective):
        total = weight.sum().clamp_min(1.0)
        mean = (embedding * weight).sum((0, 2, 3)) / total
        variance = (embedding.square() * weight).sum((0, 2, 3)) / total - mean.square()
        parts += [mean, variance.clamp_min(1e-6).sqrt() * (weight.sum() > 0)]
    encoding = torch.cat(parts)
    return F.layer_norm(encoding, encoding.shape)


def small_mlp(sizes: tuple[int, ...], *, last_gain: float, generator: torch.Generator) -> nn.Sequential:
    """Linear layers with ReLU between; the last one starts small, so that what it generates starts near zero."""
    layers: list[nn.Module] = []
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(fan_in, fan_out)
        last = index == len(sizes) - 2
        with torch.no_grad():
            gain = last_gain if last else 1.0
            layer.weight.copy_(torch.randn(fan_out, fan_in, generator=generator) * gain * (2 / fan_in) ** 0.5)
            layer.bias.zero_()
        layers += [layer] if last else [layer, nn.ReLU()]
    return nn.Sequential(*layers)
