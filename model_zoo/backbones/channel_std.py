"""The standard deviation of each feature channel over generated images: what features are divided by.

For the embedded weights the values are pinned in `channel_std.json`, so that a backbone keeps its fingerprint when the
generator of product lines learns to draw something new. For other weights they are measured when the backbone is built.
The file is written by `python -m model_zoo.backbones.pin_channel_std NAME [NAME ...]`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.synthetic.lines import generate_line

STD_IMAGES = 32
"""How many generated images they are taken over."""

PINNED = Path(__file__).with_name("channel_std.json")
"""Exponents in steps of 1/8 by the sha256 of the weights."""
_STEPS = 8
"""Values are powers of 2 in steps of 1/8: the scale needs no precision, and the last bits of a convolution differ from
one processor to the next, which must not give the same backbone two fingerprints."""


def pinned_channel_std(weights_sha256: str) -> list[Tensor] | None:
    """The pinned values of these weights, one (C,) tensor a level; None where there are none."""
    entry = pinned().get(weights_sha256)
    return None if entry is None else [_power(torch.tensor(steps, dtype=torch.float64)) for steps in entry["steps"]]


def measure_channel_std(unscaled: nn.Module, size: int) -> list[Tensor]:
    """Measure them, one (C,) tensor a level.

    Args:
        unscaled: uint8 images (B, H, W, 3) to levels, not yet divided.
        size: of the images.
    """
    return [_power(steps) for steps in measured_steps(unscaled, size)]


def generated_images(count: int, size: int) -> NDArray[np.uint8]:
    """(count, size, size, 3) uint8: good images of `count` procedural product lines, the same on every call."""
    return np.stack([generate_line(seed, size=size).good(np.random.default_rng(seed))[0] for seed in range(count)])


@torch.inference_mode()
def measured_steps(unscaled: nn.Module, size: int) -> list[Tensor]:
    """The values' exponents in steps of 1/8, whole numbers, one (C,) tensor a level; see `measure_channel_std`."""
    images_BHWC = generated_images(STD_IMAGES, size)
    sums: list[tuple[Tensor, Tensor, int]] = []
    for start in range(0, len(images_BHWC), 4):
        levels = unscaled(torch.from_numpy(images_BHWC[start : start + 4]))
        for i, features in enumerate(levels):
            values = features.double().transpose(0, 1).flatten(1)
            if i == len(sums):
                zero = torch.zeros(values.shape[0], dtype=torch.float64)
                sums.append((zero, zero.clone(), 0))
            first, second, count = sums[i]
            sums[i] = (first + values.sum(1), second + values.square().sum(1), count + values.shape[1])
    steps = []
    for first, second, count in sums:
        deviation = (second / count - (first / count).square()).clamp_min(0).sqrt()
        floor = deviation.median().clamp_min(1e-12) * 1e-2  # a dead channel must not become pure amplified rounding
        steps.append((torch.log2(deviation.clamp_min(floor)) * _STEPS).round())
    return steps


def _power(steps: Tensor) -> Tensor:
    return torch.exp2(steps / _STEPS).float()


@cache
def pinned() -> dict[str, dict[str, list[list[int]]]]:
    """What is pinned, by the sha256 of the weights."""
    return json.loads(PINNED.read_text())
