"""Episodes as a direction shared by lines is learned from: cells of the query, and what the line's heads would score.

What a support leaves in a head does not depend on what other lines taught, so it is found once for an episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from model_zoo.heads.defect_cells import defective_cells
from model_zoo.heads.defect_direction import balanced_weights
from model_zoo.heads.learned_direction import (
    LearnedCoefficients,
    LearnedDirection,
    Shown,
    StandardCells,
    learned_strength,
)
from model_zoo.heads.stacked_tiles import on_finest
from model_zoo.heads.task_head import image_score
from model_zoo.learning.auto_head import LineMemory, Recipe, memories_without, memory_of, shown_by
from pipeline.episodes import Episode, SupportSet, TensorLevels

_GOOD_CELLS = 1500  # of a query's good images
_DEFECT_CELLS = 64  # of a defect
_OWN_CELLS = 8192  # of the support's good images, which give the units: 8 images at 256 px


class LabelledCells(NamedTuple):
    """Cells of the finest grid: inputs (n, D) in float16, all levels' side by side; weights, defective or not (n,)."""

    inputs: Tensor
    weights: Tensor
    defective: Tensor


class ScoredImages(NamedTuple):
    """Images, and what a head that does not know them sees of them; float16.

    `levels` and `residuals` are whitened, `own_levels` and `own_residuals` those of the head's good images; `map`
    (B, H, W) is the line's own, with what is added to a single good image.
    """

    own_levels: TensorLevels
    own_residuals: TensorLevels
    levels: TensorLevels
    residuals: TensorLevels
    map: Tensor


class DirectionTask(NamedTuple):
    """A prepared episode: cells of the query; the support's good images by folds, in the order of their number with
    `order`; the query's good images; how many the support shows.
    """

    query: LabelledCells
    folds: list[ScoredImages]
    order: Tensor
    unseen: ScoredImages
    shown: Shown


@torch.no_grad()
def direction_task(episode: Episode, recipe: Recipe) -> DirectionTask:
    """Whiten, build the banks, of folds too, and look at the episode's images through them."""
    support, query = episode.support, episode.query
    memory = memory_of(support, recipe, seed=0)
    good = tuple(level[~query.labels] for level in query.levels)
    if support.k == 1:
        higher = recipe.higher_alone(support.m)
        order, folds = [0], [_scored(memory, recipe, support.good, support.m, torch.arange(1), higher=higher)]
    else:
        order, folds = [], []
        for fold, others in memories_without(support, memory.bank, recipe):
            order += fold
            folds.append(_scored(others, recipe, tuple(level[fold] for level in support.good), support.m))
    bad = query.labels
    as_defects = replace(
        support,
        defects=tuple(level[bad] for level in query.levels),
        defect_masks=query.masks[bad],
        has_mask=query.has_mask[bad],
    )
    unseen = _scored(memory, recipe, good, support.m)
    labelled = _labelled(memory, good, as_defects)
    return DirectionTask(labelled, folds, torch.tensor(order).argsort(), unseen, shown_by(support))


def good_scores(task: DirectionTask, coefficients: Sequence[LearnedCoefficients]) -> tuple[Tensor, Tensor]:
    """Image scores with these coefficients: of the support's good images, each left out, and of the query's."""
    folds = torch.cat([_scores(images, coefficients, task.shown) for images in task.folds])
    return folds[task.order], _scores(task.unseen, coefficients, task.shown)


def _scores(images: ScoredImages, coefficients: Sequence[LearnedCoefficients], shown: Shown) -> Tensor:
    own = images.map.float()
    grid, strength = (own.shape[-2], own.shape[-1]), learned_strength(shown)
    of_good = _float(images.own_levels), _float(images.own_residuals)
    learned = LearnedDirection(*of_good, coefficients, grid, strength=strength)
    return image_score(own + learned(_float(images.levels), _float(images.residuals)))


def _scored(
    memory: LineMemory,
    recipe: Recipe,
    images: TensorLevels,
    counted: int,
    without: Tensor | None = None,
    *,
    higher: float = 0.0,
) -> ScoredImages:
    levels = memory.whitening(*images)
    matches = memory.bank.match(levels, without)
    residuals = tuple(match.residuals for match in matches)
    direction = recipe.direction(memory.cells, memory.defects, counted)
    own = memory.bank.anomaly_map(matches) + direction(levels, residuals, memory.bank.grid) + higher
    most = max(1, _OWN_CELLS // own[0].numel())
    return ScoredImages(
        _half(memory.seen, most=most),
        _half([match.residuals for match in memory.good], most=most),
        _half(levels),
        _half(residuals),
        own.half(),
    )


def _labelled(memory: LineMemory, good: TensorLevels, as_defects: SupportSet) -> LabelledCells:
    """Cells of good images, a sample of them, before those of each defect."""
    units = [StandardCells(level, match.residuals) for level, match in zip(memory.seen, memory.good, strict=True)]
    one_by_one = zip(*(level.split(1) for level in good), strict=True)
    found = torch.cat([_inputs(memory, units, image)[0] for image in one_by_one])
    generator = torch.Generator().manual_seed(0)
    cells = [found[torch.randperm(len(found), generator=generator)[:_GOOD_CELLS]]]
    for number, image in enumerate(zip(*(level.split(1) for level in as_defects.defects), strict=True)):
        inputs, distances = _inputs(memory, units, image)
        inside = defective_cells(as_defects, number, distances)
        cells.append(inputs[inside[:: -(-len(inside) // _DEFECT_CELLS)]])
    weights = balanced_weights(len(cells[0]), [len(of_defect) for of_defect in cells[1:]])
    return LabelledCells(torch.cat(cells).half(), weights, torch.arange(len(weights)) >= len(cells[0]))


def _inputs(memory: LineMemory, units: Sequence[StandardCells], image: TensorLevels) -> tuple[Tensor, Tensor]:
    """Of one image (H * W, D), and its log distances (H, W)."""
    levels = memory.whitening(*image)
    matches = memory.bank.match(levels)
    inputs = [
        on_finest(unit(level, match.residuals), memory.bank.grid, 1)
        for unit, level, match in zip(units, levels, matches, strict=True)
    ]
    return torch.cat(inputs, 1)[0].flatten(1).t(), memory.bank.anomaly_map(matches)[0]


def _half(levels: Sequence[Tensor], *, most: int | None = None) -> TensorLevels:
    return tuple(level[:most].half() for level in levels)


def _float(levels: TensorLevels) -> TensorLevels:
    return tuple(level.float() for level in levels)
