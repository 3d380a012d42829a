"""The guard of learned heads: does this line's support say that the memory bank is the better judge?

Both score the support cross-validated. The head is fitted to one half of it and scores the other, and the other way
round; the bank needs no fit, its map is among the head's own inputs (`log_base`). Either way a good image is seen
without its own patches, a synthetic defect without those of the image it was painted on, a real one without its own
prototypes. Judged by the real defects where there are two or more, else by the synthetic ones as well: one alone does
not show how much chance there is in it.

Evidence is the share of rightly ranked pairs of a defective and a good image (image AUROC) plus the mean overlap of the
defects' maps, each within its half. The bank takes over where its evidence is higher by more than the noise of the
difference, so that a line whose few images cannot tell the two apart keeps its learner.

Sources: the standard error of paired AUROCs, DeLong et al., Biometrics 1988; the rest is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model_zoo.heads.task_head import image_score
from model_zoo.learning.separation import overlaps, ranks
from model_zoo.learning.tasks import PreparedSupport, PreparedTask, TaskInputs, subset
from pipeline.learner import Choice

BANK = "memory_bank"
_LEAST_NOISE = 0.02  # a difference of evidence nobody would notice

Fit = Callable[[TaskInputs], nn.Module]
"""A support task to a scorer: head inputs -> logits (B, H, W)."""


class _Judged(NamedTuple):
    """One way of scoring, by half: pairs ranked rightly (N, K), and each defect's overlap (N,), nan: no mask."""

    pairs: list[Tensor]
    overlap: list[Tensor]

    def evidence(self) -> float:
        """Image AUROC plus mean overlap, 0..2."""
        maps = _known(torch.cat(self.overlap))
        return float(torch.cat([pairs.flatten() for pairs in self.pairs]).mean()) + float(
            maps.mean() if len(maps) else 0
        )


@torch.no_grad()
def head_choice(name: str, support: PreparedSupport, fit: Fit) -> Choice | None:
    """The learner `name` or the memory bank, whose evidence is lowered by the noise of the difference.

    None where the support has no defect, not even a synthetic one, to judge by.
    """
    head, bank = _Judged([], []), _Judged([], [])
    judges = support.real if int(support.real.sum()) >= 2 else support.task.targets.labels
    for half in (0, 1):
        held = support.halves != 1 - half
        seen = support.halves != half
        good = (held & ~support.task.targets.labels).nonzero()[:, 0]
        defective = (held & judges).nonzero()[:, 0]
        if not len(good) or not len(defective):
            continue
        scorer = fit(subset(support.task, seen.nonzero()[:, 0]))
        both = subset(support.task, torch.cat([defective, good]))
        for judged, maps in ((head, scorer(both.inputs)), (bank, both.inputs.log_base)):
            scores, count = image_score(maps), len(defective)
            judged.pairs.append(ranks(scores[:count], scores[count:]))
            judged.overlap.append(overlaps(maps[:count], both.targets.fractions[:count], maps[count:]))
    if not head.pairs:
        return None
    evidence = {name: head.evidence(), BANK: bank.evidence() - _noise(head, bank)}
    return Choice(what="head (memory bank less its noise)", evidence=evidence)


def bank_scores(task: PreparedTask) -> tuple[Tensor, Tensor]:
    """`TaskLearner.good_scores` of the memory bank: image scores of the support's good images and of the query's."""
    support, query = (image_score(part.inputs.log_base[~part.targets.labels]) for part in task.unpack())
    return support, query


def _noise(head: _Judged, bank: _Judged) -> float:
    """The standard error of the difference in evidence, over defects and good images as drawn at random."""
    differences = [b - h for h, b in zip(head.pairs, bank.pairs, strict=True)]
    of_defects = torch.cat([difference.mean(1) for difference in differences])
    of_good = torch.cat([difference.mean(0) for difference in differences])
    of_maps = _known(torch.cat(bank.overlap) - torch.cat(head.overlap))
    squares = sum(float(values.var()) / len(values) for values in (of_defects, of_good, of_maps) if len(values) > 1)
    return max(_LEAST_NOISE, squares**0.5)


def _known(values: Tensor) -> Tensor:
    return values[~values.isnan()]
