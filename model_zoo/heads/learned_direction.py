"""What defects of other lines have in common, as a correction of a line's map; nothing where none was learned.

A cell is described by its whitened features, by its residuals (patch minus nearest good patch) and by the residuals'
magnitudes, each in standard deviations of the line's own good cells. A logistic regression over other lines weighs
them: features and residuals say which way a defect leaves the good parts, magnitudes which channels mean something
when they leave at all, whichever way. What counts is where a cell lies on that line, in standard deviations of the good
ones; ordinary cells count nothing. A line's own defects have their direction beside it, see `heads.defect_direction`.

Measured in `benchmarks/shared_direction.md`.

Shape letters: B images, C channels of a level, h x w its grid, H x W the finest grid, n cells, D = 3 C over all levels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.defect_direction import MOST_STRENGTH, direction_strength, ordinary_counts_nothing
from model_zoo.heads.stacked_tiles import on_finest
from pipeline.episodes import TensorLevels

_FAR = 20.0  # standard deviations beyond which an input is no further away
_FEW_GOOD = 5  # beside so many good images it weighs 5 / 9 of what it does beside a single one
_USUAL = 0.8  # magnitude of a standard normal residual: sqrt(2 / pi)


class Shown(NamedTuple):
    """How many images a line shows of itself."""

    good: int
    defects: int


def learned_strength(shown: Shown) -> float:
    """Its weight beside what a line shows of itself.

    Of its defects: what their direction leaves of the weight of many. Of its good images: the more there are, the less
    is left for other lines to say. With four, two thirds of the weight gain what all of it does, and cost no data set
    a point; with sixty, a third gains nothing on the mean and costs one 2.7 (`benchmarks/shared_direction.md`).
    """
    return (MOST_STRENGTH - direction_strength(shown.defects)) * _FEW_GOOD / (_FEW_GOOD - 1 + shown.good)


class LearnedCoefficients(NamedTuple):
    """Of one level: (C,) each, of standardised features, residuals and the residuals' magnitudes."""

    features: Tensor
    residuals: Tensor
    magnitudes: Tensor


class StandardCells(nn.Module):
    """A level's features and residuals (B, C, h, w) to what coefficients weigh, (B, 3 C, h, w); exportable.

    Args:
        level, residuals: of good images, each left out of what it is matched with.
    """

    mean: Tensor
    per_spread: Tensor

    def __init__(self, level: Tensor, residuals: Tensor) -> None:
        super().__init__()
        cells = torch.cat([level, residuals], 1).transpose(0, 1).flatten(1)
        self.register_buffer("mean", cells.mean(1)[:, None, None])
        self.register_buffer("per_spread", 1 / cells.std(1).clamp_min(1e-6)[:, None, None])

    def forward(self, level: Tensor, residuals: Tensor) -> Tensor:
        """In standard deviations of the good cells."""
        both = (torch.cat([level, residuals], 1) - self.mean) * self.per_spread
        both = both.clamp(-_FAR, _FAR)
        return torch.cat([both, both[:, level.shape[1] :].abs() - _USUAL], 1)


class LearnedDirection(nn.Module):
    """Whitened levels and their residuals in, what to add to log distances out (B, H, W). Exportable.

    Args:
        levels, residuals: of good images, each left out of what it is matched with.
        coefficients: per level.
        grid: the finest, of a tile where images are seen as tiles.
        strength: its weight, see `learned_strength`.
    """

    strength: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        levels: TensorLevels,
        residuals: TensorLevels,
        coefficients: Sequence[LearnedCoefficients],
        grid: tuple[int, int],
        *,
        strength: float,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("strength", torch.tensor(strength))
        self.cells = nn.ModuleList(StandardCells(*maps) for maps in zip(levels, residuals, strict=True))
        for index, of_level in enumerate(coefficients):
            self.register_buffer(f"coefficients_{index}", torch.cat(of_level)[None, :, None, None])
        with torch.no_grad():
            along = self._along(levels, residuals)
        self.register_buffer("mean", along.mean())
        self.register_buffer("spread", along.std().clamp_min(1e-6))

    def forward(self, levels: TensorLevels, residuals: TensorLevels) -> Tensor:
        """For a batch."""
        deviations = (self._along(levels, residuals) - self.mean) / self.spread
        return ordinary_counts_nothing(deviations) * self.strength

    def beside(self, shown: Shown) -> LearnedDirection:
        """The same beside another number of the line's own images."""
        other = copy.deepcopy(self)
        other.strength.fill_(learned_strength(shown))
        return other

    def _along(self, levels: TensorLevels, residuals: TensorLevels) -> Tensor:
        found = [
            F.conv2d(cells(level, of_level), getattr(self, f"coefficients_{index}"))
            for index, (cells, level, of_level) in enumerate(zip(self.cells, levels, residuals, strict=True))
        ]
        tiles = levels[0].shape[-2] // self.grid[0]
        return torch.cat([on_finest(maps, self.grid, tiles) for maps in found], 1).sum(1)
