"""Auto: a whitened memory bank that learns from the defects it is shown, at the input size that suits the line.

Three things lift it over the memory bank (`benchmarks/auto.md` has the figures of each). Features are whitened: a
distance counts in the units in which this line's good parts vary. Real defects, from a single one on, add the direction
in which they leave the good parts. And where several input sizes can be had, `evidence` tells at which of them the
support's defects stand out most; the job compares sizes by it.

Source: ours, after Roth et al., CVPR 2022; `heads.whitening` and `heads.defect_direction` name theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model_zoo.heads.bank import BankMatch
from model_zoo.heads.defect_cells import defective_cells
from model_zoo.heads.defect_direction import Cells, DefectDirection, direction_strength
from model_zoo.heads.invariant_inputs import LevelGroups, level_groups
from model_zoo.heads.memory_bank_head import MemoryBankHead, measured_images, nearest_rows
from model_zoo.heads.task_head import image_score
from model_zoo.heads.whitening import Whitening
from model_zoo.learning.separation import separation
from pipeline.episodes import SupportSet, TensorLevels
from pipeline.evaluation import score_levels
from pipeline.features import BackboneSpec
from pipeline.learner import Adaptation, AnomalyHead, AnomalyOutput, Learner

_FOLDS = 5  # a support of more good images is left out in fifths: each fold costs a head
_CHUNK = 16  # defects seen at once, so that hundreds of them take no more memory than their features
_FOLD_DEFECTS = 32  # a fold's direction is found from at most so many defects, spread over all
_FOLD_GOOD = 64  # good images that tell ordinary residuals where defects are left out
_DEFECT_FOLDS = 8
_MOST_CELLS, _FEWEST_CELLS, _ALL_CELLS = 64, 8, 8192  # of a defect, of one among very many, and of all about
_ALONE, _ALONE_WITH_DEFECTS = 0.5, 6.0  # see `AutoHead.leave_one_out`; the latter times the direction's strength


@dataclass(frozen=True, kw_only=True)
class AutoConfig:
    """`bank_budget`: most rows per level; more are thinned by a greedy coreset."""

    bank_budget: int = 2048


class AutoHead(AnomalyHead):
    """Distances to the whitened bank, and what the defects' direction adds to them."""

    def __init__(
        self,
        whitening: Whitening,
        bank: MemoryBankHead,
        direction: DefectDirection,
        groups: LevelGroups,
        config: AutoConfig,
    ) -> None:
        super().__init__()
        self.whitening = whitening
        self.bank = bank
        self.direction = direction
        self.groups = groups
        self.config = config
        self.bank_sources = bank.bank_sources

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        """Score a batch of feature levels."""
        return self._output(self.whitening(*levels))

    @torch.no_grad()
    def leave_one_out(self, support: SupportSet) -> AnomalyOutput:
        """The K good images that are held in full, each scored by a head fitted without it.

        Leaving out its patches alone is not enough: whitening and direction are fitted to the good images, too, and an
        image that they know looks too normal. Thresholds set by such scores rejected 44 % of the good parts of six real
        lines where 1 % was asked for (`benchmarks/auto.md`). `nearest` counts rows of those heads' banks, not of this
        one's.

        A single good image can only be scored by a head that knows it. New good images then score higher, by 0.49 in
        log distance (the median of 13 real lines), with one, two and four defects by 0.71, 0.88 and 1.05: about as much
        is added here (`benchmarks/thresholds.md`).
        """
        if support.k == 1:
            score, anomaly_map, nearest = self._output(self.whitening(*support.good), torch.arange(1))
            higher = _ALONE + _ALONE_WITH_DEFECTS * self.direction.strength
            return AnomalyOutput(score + higher, anomaly_map + higher, nearest)
        outputs: list[AnomalyOutput] = []
        few = support.with_defects(range(0, support.m, -(-support.m // _FOLD_DEFECTS) or 1))
        folds = [list(range(first, support.k, _FOLDS)) for first in range(min(_FOLDS, support.k))]
        for fold in folds:
            chosen = self.bank.sources_without(fold)  # a coreset of its own would take longer than all the rest
            strength = direction_strength(support.m)
            others = few.without_good(fold)
            head = _fit(others, self.groups, self.config, seed=0, chosen=chosen, strength=strength).head
            outputs.append(head(*(level[fold] for level in support.good)))
        order = torch.tensor([index for fold in folds for index in fold]).argsort()
        return AnomalyOutput(*(torch.cat(parts)[order] for parts in zip(*outputs, strict=True)))

    @torch.no_grad()
    def leave_one_defect_out(self, support: SupportSet) -> Tensor:
        """The M defective images, each by a head whose direction the others gave; of many, an eighth at a time.

        Whitening and bank know the good images only.
        """
        few = self.whitening(*(level[:_FOLD_GOOD] for level in support.good))
        good = _cells(few, self.bank.match(few, torch.arange(len(few[0]))))
        defects, _ = _defects_through(support, self.whitening, self.bank)
        scores, known = support.defects[0].new_zeros(support.m), torch.arange(support.m)
        for fold in range(min(_DEFECT_FOLDS, support.m)):
            mine = known % _DEFECT_FOLDS == fold
            others = [defects[index] for index in known[~mine].tolist()]
            direction = DefectDirection(good, others, self.groups, strength=direction_strength(len(others)))
            head = AutoHead(self.whitening, self.bank, direction, self.groups, self.config)
            scores[mine] = score_levels(head, support.with_defects(known[mine].tolist()).defects).image_score
        return scores

    def _output(self, levels: TensorLevels, without: Tensor | None = None) -> AnomalyOutput:
        """Of whitened levels; `without` as in `MemoryBankHead.match`."""
        matches = self.bank.match(levels, without)
        anomaly_map = self.bank.anomaly_map(matches) + self.direction(levels, matches, self.bank.grid)
        return AnomalyOutput(image_score(anomaly_map), anomaly_map, nearest_rows(matches))


class AutoLearner(Learner):
    """See the module."""

    name = "auto"
    chooses_size = True

    def __init__(self, spec: BackboneSpec, config: AutoConfig) -> None:
        self.config = config
        self._groups = level_groups(spec)

    @torch.no_grad()
    def choose(self, support: SupportSet, *, seed: int, prepared: None = None) -> Adaptation:  # noqa: ARG002
        """Whiten, build the bank, find the defects' direction; see `pipeline.learner.Learner`.

        The evidence is how well distances alone tell the support's defects, synthetic and real, from its good images,
        each seen without its own patches. The direction is left out: the same defects gave it.
        """
        head, good, real = _fit(support, self._groups, self.config, seed=seed)
        of_good, of_defects = image_score(head.bank.anomaly_map(good)), [real] if support.m else []
        if len(support.synthetic_parents):
            matches = head.bank.match(head.whitening(*support.synthetic), support.synthetic_parents)
            of_defects.append(image_score(head.bank.anomaly_map(matches)))
        evidence = separation(torch.cat(of_defects), of_good) if of_defects else 0.0
        return Adaptation(head=head, evidence=evidence)


class _Fitted(NamedTuple):
    """A head, matches of the good images that it was fitted to, and the real defects' scores by distance alone."""

    head: AutoHead
    good: list[BankMatch]
    real: Tensor


def _fit(
    support: SupportSet,
    groups: LevelGroups,
    config: AutoConfig,
    *,
    seed: int,
    chosen: Sequence[Tensor] | None = None,
    strength: float | None = None,
) -> _Fitted:
    """`chosen` names the bank's rows, see `build_banks`; `strength` is the direction's (default: by the numbers)."""
    whitening = Whitening(support, groups)
    seen = whitening.of_support(support.with_defects(()))
    bank, good = MemoryBankHead.with_matches(seen, groups, budget=config.bank_budget, seed=seed, chosen=chosen)
    defects, real = _defects_through(support, whitening, bank)
    if strength is None:
        strength = direction_strength(support.m)
    measured = measured_images(support.k)
    cells = _cells(tuple(level[measured] for level in seen.good), good)
    direction = DefectDirection(cells, defects, groups, strength=strength)
    return _Fitted(AutoHead(whitening, bank, direction, groups, config).eval(), good, real)


def _cells(levels: TensorLevels, matches: list[BankMatch]) -> list[Cells]:
    return [Cells.of_images(level, match) for level, match in zip(levels, matches, strict=True)]


def _defects_through(
    support: SupportSet, whitening: Whitening, bank: MemoryBankHead
) -> tuple[list[list[Cells]], Tensor]:
    """Of each defect the defective cells on every level, and the defects' scores (M,)."""
    found: list[list[Cells]] = []
    scores = [support.good[0][:0, 0, 0, 0]]
    most = max(_FEWEST_CELLS, min(_MOST_CELLS, _ALL_CELLS // max(support.m, 1)))
    for start in range(0, support.m, _CHUNK):
        few = support.with_defects(range(start, min(start + _CHUNK, support.m)))
        levels = whitening(*few.defects)
        matches = bank.match(levels)
        scores.append(image_score(bank.anomaly_map(matches)))
        found += [
            [_defect_cells(few, image, level, match, most) for level, match in zip(levels, matches, strict=True)]
            for image in range(few.m)
        ]
    return found, torch.cat(scores)


def _defect_cells(support: SupportSet, image: int, level: Tensor, match: BankMatch, most: int) -> Cells:
    """The defective cells of an image on one level, at most so many of them, evenly."""
    inside = defective_cells(support, image, match.distances[image].mean(0))
    inside = inside[:: -(-len(inside) // most)]
    return Cells(*(maps[image].flatten(1)[:, inside].t() for maps in (level, match.residuals)))
