"""Prototypical: a patch is anomalous as far as it is nearer to a defect prototype than to the normal one.

    logit = t * (|e - normal|^2 - soft-min_i |e - defect_i|^2) + s * log_base + b,   e = embedding of the patch
    soft-min_i d_i = -log mean_i exp(-d_i)

Each defective image of the support, real or synthetic, has a prototype of its own: defects of a line are of several
kinds, and their common mean is like none of them (about a point of image AUROC, `benchmarks/learners.md`).
A prototype comes from few patches, so it is shrunk towards a learned prior by n / (n + 20).

Source: Snell, Swersky & Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017; several prototypes a class
after Allen et al., "Infinite Mixture Prototypes for Few-Shot Learning", ICML 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.invariant_inputs import HeadInputs
from model_zoo.heads.task_head import DEFECTIVE_SHARE, TRUNK_WIDTH, HeadTrunk, anomaly_loss, split_theta
from model_zoo.learning.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.learning.tasks import PreparedTask, TaskInputs
from pipeline.features import BackboneSpec

_UNUSED = -1e4
"""The log weight of a slot without a prototype: its weight is 0 in float32, and nothing becomes infinite."""


@dataclass(frozen=True, kw_only=True)
class PrototypicalConfig(TaskLearnerConfig):
    """Settings of the prototypes.

    Args:
        width: of the embedding.
        prior_count: defective cells that weigh as much as the learned prior.
        slots: most defect prototypes; further defective images join those before them. The exported graph always has
            so many, so that all lines share its structure.
    """

    width: int = 16
    prior_count: float = 20.0
    slots: int = 24


class Prototypes(NamedTuple):
    """A line's prototypes: normal (width,), defect (slots, width), log_weight (slots,) of the defect prototypes."""

    normal: Tensor
    defect: Tensor
    log_weight: Tensor


class _PrototypeScorer(nn.Module):
    """The exported scorer: trunk, embedding, and the line's prototypes."""

    normal: Tensor
    defect: Tensor
    log_weight: Tensor
    temperature: Tensor
    base_weight: Tensor
    bias: Tensor

    def __init__(self, trunk: HeadTrunk, embed: nn.Conv2d, prototypes: Prototypes, scalars: dict[str, Tensor]) -> None:
        super().__init__()
        self.trunk = trunk
        self.embed = embed
        for name, value in {**prototypes._asdict(), **scalars}.items():
            self.register_buffer(name, value.detach().clone())

    def forward(self, inputs: HeadInputs) -> Tensor:
        """Logits (B, H, W)."""
        embedding = self.embed(F.relu(self.trunk(inputs)))
        prototypes = Prototypes(self.normal, self.defect, self.log_weight)
        return prototypical_logits(
            embedding, inputs.log_base, prototypes, self.temperature, self.base_weight, self.bias
        )


def prototypical_logits(
    embedding: Tensor, log_base: Tensor, prototypes: Prototypes, temperature: Tensor, s: Tensor, b: Tensor
) -> Tensor:
    """Logits (B, H, W) of patches (B, width, H, W) by the module's equation; the others are scalars."""
    to_normal = (embedding - prototypes.normal[:, None, None]).square().sum(1)
    product = F.conv2d(embedding, prototypes.defect[:, :, None, None])
    to_defects = embedding.square().sum(1, keepdim=True) - 2 * product
    to_defects = to_defects + prototypes.defect.square().sum(1)[:, None, None]
    to_defect = -torch.logsumexp(prototypes.log_weight[:, None, None] - to_defects, 1)
    return 0.3 * temperature * (to_normal - to_defect) + s * log_base + b


class PrototypicalLearner(TaskLearner):
    """See the module."""

    name = "prototypical"

    def __init__(self, spec: BackboneSpec, config: PrototypicalConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.prototypical = config
        self.embed = nn.Conv2d(TRUNK_WIDTH, config.width, 1)
        with torch.no_grad():
            self.embed.weight.copy_(torch.randn(self.embed.weight.shape, generator=self._generator) * 0.25)
            nn.init.zeros_(self.embed.bias) if self.embed.bias is not None else None
        self.temperature = nn.Parameter(torch.ones(()))
        self.prior = nn.Parameter(torch.zeros(config.width))

    def prototypes(self, support: TaskInputs) -> Prototypes:
        """The normal prototype, and one for each image with defective cells; the prior alone where there is none."""
        slots = self.prototypical.slots
        embedding = self.embed(F.relu(self.trunk(support.inputs)))
        known = support.targets.has_mask[:, None, None]
        defective = ((support.targets.fractions > DEFECTIVE_SHARE) & known).float()
        normal = ((support.targets.fractions == 0) & known).float()[:, None]
        counts = defective.sum((1, 2))
        images = counts.nonzero()[:, 0]
        slot = torch.arange(len(images), device=counts.device) % slots
        summed = (embedding * defective[:, None]).sum((2, 3))[images]
        sums = torch.zeros(slots, summed.shape[1], device=counts.device).index_add(0, slot, summed)
        of_slot = torch.zeros(slots, device=counts.device).index_add(0, slot, counts[images])
        defect = (sums + self.prototypical.prior_count * self.prior) / (of_slot + self.prototypical.prior_count)[
            :, None
        ]
        used = torch.arange(slots, device=counts.device) < max(1, len(images))
        log_weight = torch.where(used, -used.sum().float().log(), torch.full_like(of_slot, _UNUSED))
        return Prototypes((embedding * normal).sum((0, 2, 3)) / normal.sum().clamp_min(1.0), defect, log_weight)

    def task_loss(self, task: PreparedTask) -> Tensor:
        """The query loss with the support's prototypes, from the first step on: there is no inner loop to delay."""
        parts = split_theta(self.theta0)
        query = task.query
        embedding = self.embed(F.relu(self.trunk(query.inputs)))
        prototypes = self.prototypes(task.support)
        logits = prototypical_logits(embedding, query.inputs.log_base, prototypes, self.temperature, parts.s, parts.b)
        return anomaly_loss(logits, query.targets)

    def scorer(self, support: TaskInputs) -> nn.Module:
        """Trunk, embedding and the line's prototypes."""
        with torch.no_grad():
            parts = split_theta(self.theta0)
            embed = nn.Conv2d(TRUNK_WIDTH, self.prototypical.width, 1)
            embed.load_state_dict(self.embed.state_dict())
            scalars = {"temperature": self.temperature, "base_weight": parts.s, "bias": parts.b}
            return _PrototypeScorer(self.trunk_with({}), embed, self.prototypes(support), scalars)
