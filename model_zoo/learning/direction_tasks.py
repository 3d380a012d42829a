"""Episodes as a prior of defect directions is learned from: cells of the query, and what the line's heads would score.

What a support leaves in a head does not depend on the prior, so it is found once for an episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from model_zoo.heads.defect_direction import Cells, Standardisation, balanced_weights
from model_zoo.heads.task_head import image_score
from model_zoo.learning.auto_head import LineMemory, Recipe, cells_of, defects_through, memories_without, memory_of
from pipeline.episodes import Episode, TensorLevels

_GOOD_CELLS = 1500  # of a query's good images, per level
_OWN_CELLS = 2048  # of the support's good images, per level
_FAR = 20.0  # standard deviations beyond which an input is no further away


class LabelledCells(NamedTuple):
    """Cells of one level, standardised by the line's good ones, in float16; weights (n,), and defective or not (n,)."""

    cells: Cells
    weights: Tensor
    defective: Tensor


class ScoredImages(NamedTuple):
    """Good images, and what the direction of a head that does not know them is found from; float16.

    `levels` and `residuals` are whitened; `distances` (B, H, W) are logs, with what is added to a single good image.
    """

    good: list[Cells]
    defects: list[list[Cells]]
    levels: TensorLevels
    residuals: TensorLevels
    distances: Tensor


class DirectionTask(NamedTuple):
    """A prepared episode: cells of the query a level; the support's good images by folds, in the order of their number
    with `order`; the query's good images.
    """

    query: list[LabelledCells]
    folds: list[ScoredImages]
    order: Tensor
    unseen: ScoredImages


@torch.no_grad()
def direction_task(episode: Episode, recipe: Recipe) -> DirectionTask:
    """Whiten, build the banks, of folds too, and look at the episode's images through them."""
    support, query = episode.support, episode.query
    memory = memory_of(support, recipe, seed=0)
    good = tuple(level[~query.labels] for level in query.levels)
    if support.k == 1:
        higher = recipe.higher_alone(support.m)
        order, folds = [0], [_scored(memory, support.good, torch.arange(1), higher=higher)]
    else:
        order, folds = [], []
        for fold, others in memories_without(support, memory.bank, recipe):
            order += fold
            folds.append(_scored(others, tuple(level[fold] for level in support.good)))
    bad = query.labels
    as_defects = replace(
        support,
        defects=tuple(level[bad] for level in query.levels),
        defect_masks=query.masks[bad],
        has_mask=query.has_mask[bad],
    )
    defects, _ = defects_through(as_defects, memory.whitening, memory.bank)
    seen = memory.whitening(*good)
    cells = cells_of(seen, memory.bank.match(seen))
    labelled = [
        _labelled(own, of_level, [defect[level] for defect in defects])
        for level, (own, of_level) in enumerate(zip(memory.cells, cells, strict=True))
    ]
    return DirectionTask(labelled, folds, torch.tensor(order).argsort(), _scored(memory, good))


def good_scores(task: DirectionTask, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Image scores with the recipe's prior: of the support's good images, each left out, and of the query's."""
    known = len(task.unseen.defects)
    strength = recipe.strength(known)
    folds = torch.cat([_scores(images, recipe, strength) for images in task.folds])
    return folds[task.order], _scores(task.unseen, recipe, strength)


def _scores(images: ScoredImages, recipe: Recipe, strength: float) -> Tensor:
    defects = [[_float(cells) for cells in defect] for defect in images.defects]
    direction = recipe.direction([_float(cells) for cells in images.good], defects, strength)
    levels, residuals = (tuple(level.float() for level in maps) for maps in (images.levels, images.residuals))
    distances = images.distances.float()
    grid = distances.shape[-2], distances.shape[-1]
    return image_score(distances + direction(levels, residuals, grid))


def _scored(
    memory: LineMemory, images: TensorLevels, without: Tensor | None = None, *, higher: float = 0.0
) -> ScoredImages:
    levels = memory.whitening(*images)
    matches = memory.bank.match(levels, without)
    return ScoredImages(
        [_half(_some(cells, _OWN_CELLS)) for cells in memory.cells],
        [[_half(cells) for cells in defect] for defect in memory.defects],
        tuple(level.half() for level in levels),
        tuple(match.residuals.half() for match in matches),
        (memory.bank.anomaly_map(matches) + higher).half(),
    )


def _labelled(own: Cells, good: Cells, defects: Sequence[Cells]) -> LabelledCells:
    """A level's good cells of the query, a sample of them, before those of its defects."""
    good = _some(good, _GOOD_CELLS)
    weights = balanced_weights(len(good.features), [len(cells.features) for cells in defects])
    joined = (torch.cat(parts) for parts in zip(good, *defects, strict=True))
    standardised = (
        Standardisation.by(of_own)(inputs).clamp(-_FAR, _FAR) for of_own, inputs in zip(own, joined, strict=True)
    )
    return LabelledCells(_half(Cells(*standardised)), weights, torch.arange(len(weights)) >= len(good.features))


def _some(cells: Cells, most: int) -> Cells:
    """At most so many random ones, the same ones each time."""
    chosen = torch.randperm(len(cells.features), generator=torch.Generator().manual_seed(0))[:most]
    return Cells(*(values[chosen] for values in cells))


def _half(cells: Cells) -> Cells:
    return Cells(*(values.half() for values in cells))


def _float(cells: Cells) -> Cells:
    return Cells(*(values.float() for values in cells))
