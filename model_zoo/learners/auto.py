"""Auto: a memory bank that lets the support choose which network layers its line is judged by.

A fine layer finds broken tracks and scratches, a coarse one odd texture; which of them tells good from bad differs from
line to line by more than learners differ from each other (`benchmarks/auto.md`). The image score and the anomaly map
are chosen apart: the layer that finds the defective part is often not the one that outlines the defect best.

Source: ours. Judged by `model_zoo.separation`: synthetic defects on the good images, and the real ones where there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model_zoo.heads import MemoryBankHead, log_mean
from model_zoo.invariant_inputs import level_groups
from model_zoo.separation import overlap, separation
from model_zoo.task_head import image_score
from pipeline.episodes import SupportSet
from pipeline.features import BackboneSpec

ALL_LAYERS = "all layers"


@dataclass(frozen=True, kw_only=True)
class AutoConfig:
    """`bank_budget`: most rows per level; more are thinned by a greedy coreset."""

    bank_budget: int = 2048


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the support chose: each candidate's evidence, higher is better, and the best."""

    evidence: Mapping[str, float]

    @property
    def chosen(self) -> str:
        """The candidate of most evidence, the first of equals."""
        return max(self.evidence, key=self.evidence.__getitem__)


@dataclass(frozen=True, kw_only=True)
class AutoAdaptation:
    """A head, and why it is as it is."""

    head: MemoryBankHead
    image_rule: Choice
    map_rule: Choice


class AutoLearner:
    """See the module."""

    name = "auto"

    def __init__(self, spec: BackboneSpec, config: AutoConfig) -> None:
        self.config = config
        self._groups = level_groups(spec)
        single = torch.eye(len(spec.groups))
        self._rules = {ALL_LAYERS: torch.full((len(single),), 1 / len(single))}
        if len(single) > 1:
            self._rules |= {group.name: row for group, row in zip(spec.groups, single, strict=True)}

    def adapt(self, support: SupportSet, *, seed: int) -> MemoryBankHead:
        """Build the bank and choose its layers; see `pipeline.learner.Learner`."""
        return self.choose(support, seed=seed).head

    def choose(self, support: SupportSet, *, seed: int) -> AutoAdaptation:
        """`adapt`, with the evidence."""
        head = MemoryBankHead(support, self._groups, budget=self.config.bank_budget, seed=seed).eval()
        seen = _SupportRatios(head, support)
        image_rule = Choice(evidence={name: seen.image_evidence(rule) for name, rule in self._rules.items()})
        map_rule = Choice(evidence={name: seen.map_evidence(rule) for name, rule in self._rules.items()})
        head.image_weights = self._rules[image_rule.chosen].clone()
        head.map_weights = self._rules[map_rule.chosen].clone()
        return AutoAdaptation(head=head, image_rule=image_rule, map_rule=map_rule)


class _SupportRatios:
    """The support as the bank sees it, leave-one-out: (distance ratios, defect fractions) of each part."""

    def __init__(self, head: MemoryBankHead, support: SupportSet) -> None:
        self._good = head.ratios(support.good, torch.arange(support.k))
        self._defective: list[tuple[Tensor, Tensor]] = []
        if len(support.synthetic_parents):
            self._defective.append((head.ratios(support.synthetic, support.synthetic_parents), support.synthetic_masks))
        if support.m:
            self._defective.append((head.ratios(support.defects), support.defect_masks))

    def image_evidence(self, rule: Tensor) -> float:
        """The sum over synthetic and real defects of their separation from the good images."""
        good = image_score(log_mean(self._good, rule))
        return sum(separation(image_score(log_mean(ratios, rule)), good) for ratios, _ in self._defective)

    def map_evidence(self, rule: Tensor) -> float:
        """The same of their overlap; defects without a mask say nothing."""
        good = log_mean(self._good, rule)
        found = [overlap(log_mean(ratios, rule), fractions, good) for ratios, fractions in self._defective]
        return sum(value for value in found if value is not None)
