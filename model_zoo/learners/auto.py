"""Auto: a memory bank that lets the support choose which network layers its line is judged by.

A fine layer finds broken tracks and scratches, a coarse one odd texture; which of them tells good from bad differs from
line to line by more than learners differ from each other (`benchmarks/auto.md`). The image score and the anomaly map
are chosen apart: the layer that finds the defective part is often not the one that outlines the defect best.

Source: ours. Judged by `model_zoo.separation`: synthetic defects on the good images, and the real ones where there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model_zoo.choices import Adaptation, Choice
from model_zoo.heads import MemoryBankHead, log_mean
from model_zoo.invariant_inputs import level_groups
from model_zoo.separation import overlap, separation
from model_zoo.task_head import image_score
from pipeline.episodes import SupportSet
from pipeline.features import BackboneSpec
from pipeline.learner import AnomalyHead

ALL_LAYERS = "all layers"


@dataclass(frozen=True, kw_only=True)
class AutoConfig:
    """`bank_budget`: most rows per level; more are thinned by a greedy coreset."""

    bank_budget: int = 2048


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

    def adapt(self, support: SupportSet, *, seed: int) -> AnomalyHead:
        """Build the bank and choose its layers; see `pipeline.learner.Learner`."""
        return self.choose(support, seed=seed).head

    def choose(self, support: SupportSet, *, seed: int) -> Adaptation:
        """`adapt`, with the evidence: what the image score comes from, what the map."""
        head = MemoryBankHead.of_support(support, self._groups, budget=self.config.bank_budget, seed=seed).eval()
        seen = _SupportRatios(head, support)
        of_image = {name: seen.image_evidence(rule) for name, rule in self._rules.items()}
        of_map = {name: seen.map_evidence(rule) for name, rule in self._rules.items()}
        image_rule = Choice(what="image score from", evidence=of_image)
        map_rule = Choice(what="anomaly map from", evidence=of_map)
        head.image_weights = self._rules[image_rule.chosen].clone()
        head.map_weights = self._rules[map_rule.chosen].clone()
        return Adaptation(head=head, choices=(image_rule, map_rule), evidence=image_rule.most)


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
