"""The direction in which a line's defects leave the good parts, from one defective image on.

A memory bank asks how far a patch is from the nearest good one. A few real defects also say which way: a logistic
regression tells defective cells from good ones by their whitened features and by their residuals (patch minus nearest
good patch). What counts is where a cell lies on that line, in standard deviations of the good ones; ordinary cells
count nothing. The direction of an unseen kind of defect is another, so its weight is bounded; it grows with the number
of defects.

Source: Cox, JRSS B 1958, with a ridge penalty (le Cessie & van Houwelingen, Applied Statistics 1992); the use on
residuals is ours. Measured in `benchmarks/auto.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.bank import BankMatch
from model_zoo.heads.invariant_inputs import LevelGroups
from model_zoo.heads.stacked_tiles import on_finest
from pipeline.episodes import TensorLevels

_RIDGE = 0.3  # of the coefficients of standardised inputs; from 0.08 to 1 the figures are the same
_STEPS = 40  # of L-BFGS, at most
_GOOD_CELLS = 8192
_ORDINARY, _ENOUGH = 1.0, 10.0  # standard deviations from which a cell counts, and up to which
_HALFWAY = 2.0  # the number of defects that gives half of the weight of many
MOST_STRENGTH = 0.15
"""The weight of the direction of many defects."""


class Cells(NamedTuple):
    """Cells of one level: whitened `features` (n, C), and `residuals` (n, C), as `BankMatch` has them."""

    features: Tensor
    residuals: Tensor

    @classmethod
    def of_images(cls, level_BChw: Tensor, match: BankMatch) -> Cells:
        """All cells of whole images."""
        return cls(*(maps.flatten(2).transpose(1, 2).flatten(0, 1) for maps in (level_BChw, match.residuals)))


def direction_strength(defects: int) -> float:
    """The weight of the direction, from the number of defective images.

    More would be better for defects of the known kinds (with 16 of them twice as much), and worse for other kinds.
    """
    return MOST_STRENGTH * defects / (defects + _HALFWAY)


def ordinary_counts_nothing(deviations: Tensor) -> Tensor:
    """Standard deviations of good cells, above the ordinary one and up to the tenth: 0 to 9."""
    return deviations.clamp(_ORDINARY, _ENOUGH) - _ORDINARY


class DefectDirection(nn.Module):
    """Features and residuals in, how much each cell looks like the support's defects; nothing where there are none.
    Exportable.

    Args:
        good: per level, cells of good images, each left out of what it is matched with.
        defects: per defect, for each level its defective cells, at least one; there may be none.
        groups: channel ranges of each level's groups.
        strength: its weight, see `direction_strength`.
    """

    strength: Tensor

    def __init__(
        self,
        good: Sequence[Cells],
        defects: Sequence[Sequence[Cells]],
        groups: LevelGroups,
        *,
        strength: float,
    ) -> None:
        super().__init__()
        self.groups = groups
        self.register_buffer("strength", torch.tensor(strength))
        for index, ranges in enumerate(groups):
            of_level = [defect[index] for defect in defects]
            features, residuals = (torch.zeros_like(maps[0]) for maps in good[index])
            offsets = torch.zeros(len(ranges))
            for group, (start, stop) in enumerate(ranges if of_level else ()):
                inside = slice(start, stop)
                direction, offsets[group] = _discriminant(
                    _joined(good[index], inside), [_joined(cells, inside) for cells in of_level]
                )
                features[inside], residuals[inside] = direction.chunk(2)
            self.register_buffer(f"features_{index}", features)
            self.register_buffer(f"residuals_{index}", residuals)
            self.register_buffer(f"offsets_{index}", offsets)

    def forward(self, levels: TensorLevels, residuals_of: TensorLevels, grid: tuple[int, int]) -> Tensor:
        """What to add to the log distances of a batch (B, H, W), from whitened levels and their residuals."""
        found: list[Tensor] = []
        tiles = levels[0].shape[-2] // grid[0]
        for index, (level, residual, ranges) in enumerate(zip(levels, residuals_of, self.groups, strict=True)):
            features, residuals = getattr(self, f"features_{index}"), getattr(self, f"residuals_{index}")
            offsets = getattr(self, f"offsets_{index}")
            along = level * features[:, None, None] + residual * residuals[:, None, None]
            for group, (start, stop) in enumerate(ranges):
                deviations = along[:, start:stop].sum(1, keepdim=True) - offsets[group]
                found.append(ordinary_counts_nothing(on_finest(deviations, grid, tiles)))
        return torch.cat(found, 1).mean(1) * self.strength


def _joined(level: Cells, channels: slice) -> Tensor:
    """Features and residuals of a group (n, 2 C)."""
    return torch.cat([level.features[..., channels], level.residuals[..., channels]], -1)


def _discriminant(good_nC: Tensor, defects: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The regression's direction (C,), scaled so that good cells have unit standard deviation along it, and their mean.

    Good cells weigh as much as defective ones, and each defect as much as another, whatever its size.
    """
    if len(good_nC) > _GOOD_CELLS:
        generator = torch.Generator().manual_seed(0)
        good_nC = good_nC[torch.randperm(len(good_nC), generator=generator)[:_GOOD_CELLS]]
    mean, spread = good_nC.mean(0), good_nC.std(0).clamp_min(1e-6)
    inputs = (torch.cat([good_nC, *defects]) - mean) / spread
    weights = balanced_weights(len(good_nC), [len(cells) for cells in defects])
    labels = (torch.arange(len(inputs)) >= len(good_nC)).to(inputs)
    direction = _logistic_direction(inputs, labels, weights) / spread
    direction = direction / (good_nC @ direction).std().clamp_min(1e-6)
    return direction, direction @ mean


def balanced_weights(good: int, defects: Sequence[int]) -> Tensor:
    """Weights of so many good cells, 1 in sum, and of each defect's (n,), which are 1 in sum and alike for each."""
    counts = [(good, 1), *((cells, len(defects)) for cells in defects)]
    return torch.cat([torch.full((cells,), 1 / cells / parts) for cells, parts in counts])


@torch.enable_grad()
def _logistic_direction(inputs_nC: Tensor, labels_n: Tensor, weights_n: Tensor) -> Tensor:
    """Coefficients (C,) of the logistic regression with an intercept and a ridge."""
    inputs_nC = inputs_nC.detach()
    coefficients = torch.zeros(inputs_nC.shape[1], requires_grad=True)
    intercept = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([coefficients, intercept], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits = inputs_nC @ coefficients + intercept
        likelihood = F.binary_cross_entropy_with_logits(logits, labels_n, weights_n, reduction="sum")
        value = likelihood + _RIDGE * coefficients.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return coefficients.detach()
