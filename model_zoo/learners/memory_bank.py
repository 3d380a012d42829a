"""Memory bank: nearest neighbours among the good support patches. Nothing is learned from other lines.

Source: PatchCore (Roth et al., CVPR 2022), with flips of the support in the bank, distances per network layer, each in
units of its own leave-one-out median.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_zoo.heads.invariant_inputs import level_groups, token_levels
from model_zoo.heads.memory_bank_head import MemoryBankHead
from pipeline.episodes import SupportSet
from pipeline.features import BackboneSpec
from pipeline.learner import Adaptation, Learner


@dataclass(frozen=True, kw_only=True)
class MemoryBankConfig:
    """`bank_budget`: most rows per level; more are thinned by a greedy coreset."""

    bank_budget: int = 2048


class MemoryBankLearner(Learner):
    """See the module."""

    name = "memory_bank"
    uses_defects = False
    sees_tiles = True

    def __init__(self, spec: BackboneSpec, config: MemoryBankConfig) -> None:
        self.config = config
        self._groups, self._tokens = level_groups(spec), token_levels(spec)

    def choose(self, support: SupportSet, *, seed: int, prepared: None = None) -> Adaptation:  # noqa: ARG002
        """Build the bank; see `pipeline.learner.Learner`."""
        head = MemoryBankHead.of_support(
            support, self._groups, budget=self.config.bank_budget, seed=seed, tokens=self._tokens
        )
        return Adaptation(head=head.eval())
