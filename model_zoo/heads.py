"""Heads: feature levels in, scores out. What learners return, what export writes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.invariant_inputs import HeadInputs, InvariantInputs, LevelGroups
from model_zoo.memory_bank import MemoryBank, build_banks
from model_zoo.task_head import Trunk, apply_theta, image_score
from pipeline.episodes import SupportSet
from pipeline.learner import AnomalyHead, AnomalyOutput


class MemoryBankHead(AnomalyHead):
    """Nearest-neighbour distances alone: the mean over the groups, each scaled by its LOO median, as a log."""

    scale: Tensor

    def __init__(self, support: SupportSet, groups: LevelGroups, *, budget: int, seed: int) -> None:
        super().__init__()
        self.k = support.k
        self.grid = tuple(support.good[0].shape[-2:])
        self.banks = nn.ModuleList(build_banks(support, groups, budget=budget, seed=seed))
        with torch.no_grad():
            distances = [bank(level, own).distances for bank, level, own in self._loo(support)]
            scale = torch.cat([d.transpose(0, 1).flatten(1).median(1).values for d in distances])
        self.register_buffer("scale", scale.reshape(-1, 1, 1))
        self.bank_sources = self.banks[-1].sources  # type: ignore[assignment]

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        """Score a batch of feature levels."""
        matches = [bank(level) for bank, level in zip(self.banks, levels, strict=True)]
        return self._output([match.distances for match in matches], matches[-1].rows)

    @torch.no_grad()
    def leave_one_out(self, support: SupportSet) -> AnomalyOutput:
        """The K good images, each scored against the others."""
        matches = [bank(level, own) for bank, level, own in self._loo(support)]
        return self._output([match.distances for match in matches], matches[-1].rows)

    def _loo(self, support: SupportSet) -> list[tuple[MemoryBank, Tensor, Tensor]]:
        images = torch.arange(self.k)
        triples = []
        for bank, level in zip(self.banks, support.good, strict=True):
            assert isinstance(bank, MemoryBank)
            own = bank.sources[:, 0][None] == images[:, None]
            triples.append((bank, level, own & (bank.sources[:, 1] == -1)[None] if self.k == 1 else own))
        return triples

    def _output(self, distances: list[Tensor], rows: Tensor) -> AnomalyOutput:
        fine = [
            d if tuple(d.shape[-2:]) == self.grid else F.interpolate(d, self.grid, mode="bilinear", align_corners=False)
            for d in distances
        ]
        log_base = (torch.cat(fine, 1) / self.scale).mean(1).log()
        nearest = rows[:, -1].reshape(-1, *distances[-1].shape[-2:])
        return AnomalyOutput(image_score(log_base), log_base, nearest)


class LearnedHead(AnomalyHead):
    """Product-invariant inputs, then a scorer (head inputs -> logits (B, H, W)) that a learner adapted."""

    def __init__(self, inputs: InvariantInputs, scorer: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.scorer = scorer
        self.bank_sources = inputs.banks[-1].sources  # type: ignore[assignment]

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        """Score a batch of feature levels."""
        return self.output_of(self.inputs(*levels))

    @torch.no_grad()
    def leave_one_out(self, support: SupportSet) -> AnomalyOutput:
        """The K good images, each scored against the others."""
        return self.output_of(self.inputs.leave_one_out(support))

    def output_of(self, inputs: HeadInputs) -> AnomalyOutput:
        """The scores of inputs that are already computed."""
        logits = self.scorer(inputs)
        return AnomalyOutput(image_score(logits), logits, inputs.nearest)


class ThetaScorer(nn.Module):
    """A trunk and one line's theta (P,), or its M thetas (M, P)."""

    theta: Tensor

    def __init__(self, trunk: Trunk, theta: Tensor) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("theta", theta.detach().clone())

    def forward(self, inputs: HeadInputs) -> Tensor:
        """Logits (B, H, W)."""
        return apply_theta(self.theta, self.trunk(inputs), inputs.log_base)
