"""Memory bank: nearest neighbours among the good support patches. Nothing is learned from other lines.

Source: PatchCore (Roth et al., CVPR 2022), with flips of the support in the bank, distances per network layer, each in
units of its own leave-one-out median.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_zoo.heads.invariant_inputs import level_groups
from model_zoo.heads.memory_bank_head import MemoryBankHead
from pipeline.episodes import SupportSet
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class MemoryBankConfig:
    """`bank_budget`: most rows per level; more are thinned by a greedy coreset."""

    bank_budget: int = 2048


class MemoryBankLearner:
    """See the module."""

    name = "memory_bank"

    def __init__(self, spec: BackboneSpec, config: MemoryBankConfig) -> None:
        self.config = config
        self._groups = level_groups(spec)

    def adapt(self, support: SupportSet, *, seed: int) -> MemoryBankHead:
        """Build the bank; see `pipeline.learner.Learner`."""
        return MemoryBankHead.of_support(support, self._groups, budget=self.config.bank_budget, seed=seed).eval()
