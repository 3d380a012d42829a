"""A whitened memory bank and a direction of defects: the head of `auto`, and of `shared_direction`, which adds another.

Features are whitened: a distance counts in the units in which this line's good parts vary. Real defects, from a single
one on, add the direction in which they leave the good parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model_zoo.heads.bank import BankMatch
from model_zoo.heads.defect_cells import defective_cells
from model_zoo.heads.defect_direction import Cells, DefectDirection, direction_strength
from model_zoo.heads.invariant_inputs import LevelGroups
from model_zoo.heads.learned_direction import LearnedCoefficients, LearnedDirection, Shown, learned_strength
from model_zoo.heads.memory_bank_head import MemoryBankHead, measured_images, nearest_rows
from model_zoo.heads.whitening import Whitening
from model_zoo.learning.separation import separation
from pipeline.episodes import SupportSet, TensorLevels
from pipeline.evaluation import score_levels
from pipeline.learner import Adaptation, AnomalyHead, AnomalyOutput

_FOLDS = 5  # a support of more good images is left out in fifths: each fold costs a head
_CHUNK = 16  # defects seen at once, so that hundreds of them take no more memory than their features
_FOLD_DEFECTS = 32  # a fold's direction is found from at most so many defects, spread over all
_FOLD_GOOD = 64  # good images that tell ordinary residuals where defects are left out
_DEFECT_FOLDS = 8
_MOST_CELLS, _FEWEST_CELLS, _ALL_CELLS = 64, 8, 8192  # of a defect, of one among very many, and of all about
_ALONE = 0.5  # see `Recipe.higher_alone`
_ALONE_WITH_DEFECTS, _ALONE_WITH_LEARNED = 6.0, 4.0  # times the strengths of both directions


@dataclass(frozen=True, kw_only=True)
class AutoConfig:
    """`bank_budget`: most rows per level; more are thinned by a greedy coreset."""

    bank_budget: int = 2048


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a line's head is made by, and those of its folds.

    Args:
        groups: of the backbone.
        config: settings.
        learned: per level, what other lines say of defects; None: nothing.
        tokens: the levels of the backbone that are a transformer's.
    """

    groups: LevelGroups
    config: AutoConfig
    learned: Sequence[LearnedCoefficients] | None = None
    tokens: tuple[int, ...] = ()

    def higher_alone(self, defects: int) -> float:
        """What is added to the scores of a single good image.

        It can only be scored by a head that knows it. New good images then score higher, by 0.49 in log distance (the
        median of 13 real lines), with one, two and four defects by 0.71, 0.88 and 1.05 (`benchmarks/thresholds.md`).
        About as much is added; and what other lines taught, whose units are the image's, raises them by four times its
        strength (0.32 to 0.4 at 0.1).
        """
        of_learned = 0.0 if self.learned is None else learned_strength(Shown(1, defects))
        return _ALONE + _ALONE_WITH_DEFECTS * direction_strength(defects) + _ALONE_WITH_LEARNED * of_learned

    def direction(
        self, good: Sequence[Cells], defects: Sequence[Sequence[Cells]], counted: int | None = None
    ) -> DefectDirection:
        """The defects' direction, as strong as their number says, or that of all of which these are a part."""
        strength = direction_strength(len(defects) if counted is None else counted)
        return DefectDirection(good, defects, self.groups, strength=strength)


class AutoHead(AnomalyHead):
    """Distances to the whitened bank, and what the defects' direction and other lines' add to them."""

    def __init__(
        self,
        whitening: Whitening,
        bank: MemoryBankHead,
        direction: DefectDirection,
        learned: LearnedDirection | None,
        recipe: Recipe,
    ) -> None:
        super().__init__()
        self.whitening = whitening
        self.bank = bank
        self.direction = direction
        self.learned = learned
        self.recipe = recipe
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
        """
        if support.k == 1:
            score, anomaly_map, nearest = self._output(self.whitening(*support.good), torch.arange(1))
            higher = self.recipe.higher_alone(support.m)
            return AnomalyOutput(score + higher, anomaly_map + higher, nearest)
        outputs: list[AnomalyOutput] = []
        order: list[int] = []
        for fold, memory in memories_without(support, self.bank, self.recipe):
            head = memory.head(self.recipe, shown_by(support))
            outputs.append(head(*(level[fold] for level in support.good)))
            order += fold
        back = torch.tensor(order).argsort()
        return AnomalyOutput(*(torch.cat(parts)[back] for parts in zip(*outputs, strict=True)))

    @torch.no_grad()
    def leave_one_defect_out(self, support: SupportSet) -> Tensor:
        """The M defective images, each by a head whose direction the others gave; of many, an eighth at a time.

        Whitening and bank know the good images only.
        """
        few = self.whitening(*(level[:_FOLD_GOOD] for level in support.good))
        good = cells_of(few, self.bank.match(few, torch.arange(len(few[0]))))
        defects, _ = defects_through(support, self.whitening, self.bank)
        scores, known = support.defects[0].new_zeros(support.m), torch.arange(support.m)
        for fold in range(min(_DEFECT_FOLDS, support.m)):
            mine = known % _DEFECT_FOLDS == fold
            others = [defects[index] for index in known[~mine].tolist()]
            direction = self.recipe.direction(good, others)
            learned = self.learned and self.learned.beside(Shown(support.good_images, len(others)))
            head = AutoHead(self.whitening, self.bank, direction, learned, self.recipe)
            scores[mine] = score_levels(head, support.with_defects(known[mine].tolist()).defects).image_score
        return scores

    def _output(self, levels: TensorLevels, without: Tensor | None = None) -> AnomalyOutput:
        """Of whitened levels; `without` as in `MemoryBankHead.match`."""
        matches = self.bank.match(levels, without)
        residuals = tuple(match.residuals for match in matches)
        anomaly_map = self.bank.anomaly_map(matches) + self.direction(levels, residuals, self.bank.grid)
        if self.learned is not None:
            anomaly_map = anomaly_map + self.learned(levels, residuals)
        return AnomalyOutput(self.bank.image_score(anomaly_map), anomaly_map, nearest_rows(matches))


def shown_by(support: SupportSet) -> Shown:
    """All images of a support, also the good ones of which it has only samples."""
    return Shown(support.good_images, support.m)


class LineMemory(NamedTuple):
    """What a support leaves in a line's head, whatever other lines taught.

    Args:
        whitening, bank: of the head.
        seen, good: whitened levels and leave-one-out matches of good images, and `cells`: theirs a level.
        defects: each one's defective cells a level, and `distances`: the defects' scores by distance alone.
    """

    whitening: Whitening
    bank: MemoryBankHead
    seen: TensorLevels
    good: list[BankMatch]
    cells: list[Cells]
    defects: list[list[Cells]]
    distances: Tensor

    def head(self, recipe: Recipe, shown: Shown) -> AutoHead:
        """The head; `shown`: the images of which these are all, or a part."""
        direction = recipe.direction(self.cells, self.defects, shown.defects)
        learned = self.learned(recipe, shown)
        return AutoHead(self.whitening, self.bank, direction, learned, recipe).eval()

    def learned(self, recipe: Recipe, shown: Shown) -> LearnedDirection | None:
        """What other lines taught, in units of these good images, beside so many of a line."""
        if recipe.learned is None:
            return None
        residuals = tuple(match.residuals for match in self.good)
        strength = learned_strength(shown)
        return LearnedDirection(self.seen, residuals, recipe.learned, self.bank.grid, strength=strength)


def memory_of(support: SupportSet, recipe: Recipe, *, seed: int, chosen: Sequence[Tensor] | None = None) -> LineMemory:
    """Whiten, build the bank, look at the defects through both; `chosen` names the bank's rows, see `build_banks`."""
    whitening = Whitening(support, recipe.groups, recipe.tokens)
    seen = whitening.of_support(support.with_defects(()))
    budget = recipe.config.bank_budget
    bank, good = MemoryBankHead.with_matches(
        seen, recipe.groups, budget=budget, seed=seed, chosen=chosen, tokens=recipe.tokens
    )
    measured = measured_images(support.k)
    levels = tuple(level[measured] for level in seen.good)
    return LineMemory(whitening, bank, levels, good, cells_of(levels, good), *defects_through(support, whitening, bank))


def memories_without(
    support: SupportSet, bank: MemoryBankHead, recipe: Recipe
) -> Iterator[tuple[list[int], LineMemory]]:
    """The support's good images in folds, by number, and what it leaves without each; it has at least two."""
    few = support.with_defects(range(0, support.m, -(-support.m // _FOLD_DEFECTS) or 1))
    for fold in (list(range(first, support.k, _FOLDS)) for first in range(min(_FOLDS, support.k))):
        chosen = bank.sources_without(fold)  # a coreset of its own would take longer than all the rest
        yield fold, memory_of(few.without_good(fold), recipe, seed=0, chosen=chosen)


@torch.no_grad()
def adaptation(support: SupportSet, recipe: Recipe, *, seed: int) -> Adaptation:
    """The head of a line, with the evidence by which those of several input sizes are compared.

    It is how well distances alone tell the support's defects, synthetic and real, from its good images, each seen
    without its own patches. The direction is left out: the same defects gave it.
    """
    memory = memory_of(support, recipe, seed=seed)
    bank, of_defects = memory.bank, [memory.distances] if support.m else []
    if len(support.synthetic_parents):
        matches = bank.match(memory.whitening(*support.synthetic), support.synthetic_parents)
        of_defects.append(bank.image_score(bank.anomaly_map(matches)))
    of_good = bank.image_score(bank.anomaly_map(memory.good))
    evidence = separation(torch.cat(of_defects), of_good) if of_defects else 0.0
    return Adaptation(head=memory.head(recipe, shown_by(support)), evidence=evidence)


def cells_of(levels: TensorLevels, matches: list[BankMatch]) -> list[Cells]:
    """All cells of whitened images, per level."""
    return [Cells.of_images(level, match) for level, match in zip(levels, matches, strict=True)]


def defects_through(
    support: SupportSet, whitening: Whitening, bank: MemoryBankHead
) -> tuple[list[list[Cells]], Tensor]:
    """Of each of the support's defects the defective cells on every level, and the defects' scores (M,)."""
    found: list[list[Cells]] = []
    scores = [support.good[0][:0, 0, 0, 0]]
    most = max(_FEWEST_CELLS, min(_MOST_CELLS, _ALL_CELLS // max(support.m, 1)))
    chunk = max(1, _CHUNK // support.tiles)
    for start in range(0, support.m, chunk):
        few = support.with_defects(range(start, min(start + chunk, support.m)))
        levels = whitening(*few.defects)
        matches = bank.match(levels)
        scores.append(bank.image_score(bank.anomaly_map(matches)))
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
