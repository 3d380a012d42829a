"""Prototypical: a patch is anomalous as far as it is nearer to the defect prototype than to the normal one.

logit = t * (|e - normal|^2 - |e - defect|^2) + s * log_base + b, e = embedding of the patch.

The defect prototype comes from few, often synthetic, patches, so it is shrunk towards a learned prior by n / (n + 20).
Source: Snell, Swersky & Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.invariant_inputs import HeadInputs
from model_zoo.task_head import TRUNK_WIDTH, Trunk, anomaly_loss, split_theta
from model_zoo.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.tasks import PreparedTask, TaskInputs
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class PrototypicalConfig(TaskLearnerConfig):
    """`width`: of the embedding. `prior_count`: defective cells that weigh as much as the learned prior."""

    width: int = 16
    prior_count: float = 20.0


class _Prototypes(nn.Module):
    """The exported scorer: trunk, embedding, and the line's two prototypes."""

    normal: Tensor
    defect: Tensor
    temperature: Tensor
    base_weight: Tensor
    bias: Tensor

    def __init__(self, trunk: Trunk, embed: nn.Conv2d) -> None:
        super().__init__()
        self.trunk = trunk
        self.embed = embed
        self.register_buffer("normal", torch.zeros(embed.out_channels))
        self.register_buffer("defect", torch.zeros(embed.out_channels))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("base_weight", torch.ones(()))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, inputs: HeadInputs) -> Tensor:
        """Logits (B, H, W)."""
        embedding = self.embed(F.relu(self.trunk(inputs)))
        return _logits(
            embedding, inputs.log_base, self.normal, self.defect, self.temperature, self.base_weight, self.bias
        )


def _logits(
    embedding: Tensor, log_base: Tensor, normal: Tensor, defect: Tensor, temperature: Tensor, s: Tensor, b: Tensor
) -> Tensor:
    to_normal = (embedding - normal[:, None, None]).square().sum(1)
    to_defect = (embedding - defect[:, None, None]).square().sum(1)
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

    def prototypes(self, support: TaskInputs) -> tuple[Tensor, Tensor]:
        """The normal and the shrunk defect prototype, each (width,)."""
        embedding = self.embed(F.relu(self.trunk(support.inputs)))
        known = support.targets.has_mask[:, None, None]
        defective = ((support.targets.fractions > 0.25) & known).float()[:, None]
        normal = ((support.targets.fractions == 0) & known).float()[:, None]
        count = defective.sum()
        share = count / (count + self.prototypical.prior_count)
        of_defects = (embedding * defective).sum((0, 2, 3)) / count.clamp_min(1.0)
        of_normals = (embedding * normal).sum((0, 2, 3)) / normal.sum().clamp_min(1.0)
        return of_normals, share * of_defects + (1 - share) * self.prior

    def task_loss(self, task: PreparedTask) -> Tensor:
        """The query loss with the support's prototypes, from the first step on: there is no inner loop to delay."""
        normal, defect = self.prototypes(task.support)
        parts = split_theta(self.theta0)
        query = task.query
        embedding = self.embed(F.relu(self.trunk(query.inputs)))
        logits = _logits(embedding, query.inputs.log_base, normal, defect, self.temperature, parts.s, parts.b)
        return anomaly_loss(logits, query.targets)

    def scorer(self, support: TaskInputs) -> nn.Module:
        """Trunk, embedding and the line's prototypes."""
        with torch.no_grad():
            scorer = _Prototypes(self._trunk_with({}), nn.Conv2d(TRUNK_WIDTH, self.prototypical.width, 1))
            scorer.embed.load_state_dict(self.embed.state_dict())
            scorer.normal, scorer.defect = self.prototypes(support)
            parts = split_theta(self.theta0.detach().clone())
            scorer.temperature, scorer.base_weight, scorer.bias = self.temperature.detach().clone(), parts.s, parts.b
        return scorer
