"""What a learner costs when it scores: multiply-adds of its head beside those of the bare backbone, and its numbers.

Counted on heads that are freshly adapted to random features of four good images and their flips, which fill the banks
up to their budget; what a head costs does not depend on the values. Counted are the multiply-adds of convolutions and
matrix products, nearest-neighbour search among them; comparisons, element-wise operations and decoding are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model_zoo.backbones.backbone import build_backbone
from model_zoo.learner_table import LEARNERS, make_learner
from pipeline.episodes import SupportSet
from pipeline.features import DEFAULT_BACKBONE, BackboneSpec
from pipeline.learner import Preparation

SIZE = 256
_GOOD = 4
_FLIPS = 3


@dataclass(frozen=True, kw_only=True)
class LearnerCost:
    """Of one learner's head.

    Args:
        multiply_adds: per scored image.
        relative: backbone and head together, in units of the backbone alone.
        numbers: tensor entries that the head stores.
    """

    multiply_adds: int
    relative: float
    numbers: int


def learner_costs(*, size: int | None = None) -> dict[str, LearnerCost]:
    """Every learner's cost with the default backbone at an input size (default: 256 px), by name."""
    size = size or SIZE
    backbone = build_backbone(DEFAULT_BACKBONE, size=size)
    bare = multiply_adds(backbone, torch.zeros(1, size, size, 3, dtype=torch.uint8))
    support = random_support(backbone.spec)
    prepared: dict[Preparation | None, Any] = {}  # the banks take longest, and most learners share them
    costs = {}
    for name in LEARNERS:
        learner = make_learner(name, backbone.spec)
        if learner.preparation is not None and learner.preparation not in prepared:
            prepared[learner.preparation] = learner.preparation(support, 0)
        head = learner.choose(support, seed=0, prepared=prepared.get(learner.preparation)).head
        of_head = multiply_adds(head, *(level[:1] for level in support.good))
        numbers = sum(value.numel() for value in head.state_dict().values())
        costs[name] = LearnerCost(multiply_adds=of_head, relative=1 + of_head / bare, numbers=numbers)
    return costs


@torch.no_grad()
def multiply_adds(module: nn.Module, *inputs: Tensor) -> int:
    """Of the convolutions and matrix products in one call of the module."""
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2  # torch counts a multiplication and an addition as two


def random_support(spec: BackboneSpec) -> SupportSet:
    """Random features of four good images and three augmentations of each, without any defect."""
    generator = torch.Generator().manual_seed(0)

    def features(*count: int) -> tuple[Tensor, ...]:
        return tuple(
            torch.randn(*count, level.channels, level.height, level.width, generator=generator) for level in spec.levels
        )

    masks = torch.zeros(0, spec.levels[0].height, spec.levels[0].width)
    return SupportSet(
        good=features(_GOOD),
        augmented=features(_GOOD, _FLIPS),
        synthetic=features(0),
        synthetic_masks=masks,
        synthetic_parents=torch.zeros(0, dtype=torch.int64),
        defects=features(0),
        defect_masks=masks,
        has_mask=torch.zeros(0, dtype=torch.bool),
    )
