"""The direction in which a line's defects leave the good parts, from one defective image on.

A memory bank asks how far a patch is from the nearest good one. A few real defects also say which way: Fisher's linear
discriminant between the residuals (patch minus nearest good patch) of defective cells and those of good parts. What
counts is where a residual lies on that line, in standard deviations of the good ones; ordinary residuals count nothing.
The direction of an unseen kind of defect is another, so its weight is bounded; it grows with the number of defects, and
with that of the good images, which say what an ordinary residual is.

Source: Fisher, Annals of Eugenics 1936, with the shrunk covariance of Ledoit & Wolf, JMVA 2004 (a fixed shrinkage
here); the use on residuals is ours. Measured in `benchmarks/auto.md`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.bank import BankMatch
from model_zoo.heads.invariant_inputs import LevelGroups

_SHRINKAGE = 0.5  # of the covariance of good residuals towards a multiple of the identity
_ORDINARY, _ENOUGH = 1.0, 10.0  # standard deviations from which a residual counts, and up to which
_STRENGTH, _HALFWAY = 0.125, 1.5  # weight with many defects, and the number of defects that gives half of it
_FEW_GOOD, _HALFWAY_GOOD = 4, 20  # good images up to which that is the weight; so many more give half of it on top


def direction_strength(good: int, defects: int) -> float:
    """The weight of the direction, from the numbers of good and defective images.

    With 4 good images this weight was best, with 32 twice as much (half a point of image AUROC more; 13 real lines, two
    draws): the more good images, the less an unusual residual is one that they merely have not shown.
    """
    more = max(0, good - _FEW_GOOD)
    return _STRENGTH * defects / (defects + _HALFWAY) * (1 + more / (more + _HALFWAY_GOOD))


class DefectDirection(nn.Module):
    """Residuals in, how much each cell looks like the support's defects; nothing where it has none. Exportable.

    Args:
        good: matches of good images, leave-one-out.
        defects: per level (M, C), the mean residual of each defect's defective cells; M may be 0.
        groups: channel ranges of each level's groups.
        strength: its weight, see `direction_strength`.
    """

    strength: Tensor

    def __init__(self, good: list[BankMatch], defects: list[Tensor], groups: LevelGroups, *, strength: float) -> None:
        super().__init__()
        self.groups = groups
        count = len(defects[0])
        self.register_buffer("strength", torch.tensor(strength))
        for index, ranges in enumerate(groups):
            of_good = good[index].residuals.flatten(2).transpose(1, 2).flatten(0, 1)  # (n, C)
            directions, offsets = torch.zeros(of_good.shape[1]), torch.zeros(len(ranges))
            for group, (start, stop) in enumerate(ranges):
                if count:
                    mean = defects[index][:, start:stop].mean(0)
                    directions[start:stop], offsets[group] = _discriminant(of_good[:, start:stop], mean)
            self.register_buffer(f"directions_{index}", directions)
            self.register_buffer(f"offsets_{index}", offsets)

    def forward(self, matches: list[BankMatch], grid: tuple[int, int]) -> Tensor:
        """What to add to the log distances of a batch (B, H, W)."""
        found: list[Tensor] = []
        for index, (match, ranges) in enumerate(zip(matches, self.groups, strict=True)):
            directions, offsets = getattr(self, f"directions_{index}"), getattr(self, f"offsets_{index}")
            along = match.residuals * directions[:, None, None]
            for group, (start, stop) in enumerate(ranges):
                deviations = along[:, start:stop].sum(1, keepdim=True) - offsets[group]
                if tuple(deviations.shape[-2:]) != grid:
                    deviations = F.interpolate(deviations, grid, mode="bilinear", align_corners=False)
                found.append(deviations.clamp(_ORDINARY, _ENOUGH) - _ORDINARY)
        return torch.cat(found, 1).mean(1) * self.strength


def _discriminant(good_nC: Tensor, defective_C: Tensor) -> tuple[Tensor, Tensor]:
    """Fisher's direction (C,), scaled so that good residuals have unit standard deviation along it, and their mean."""
    mean, channels = good_nC.mean(0), good_nC.shape[1]
    covariance = torch.cov(good_nC.t()).reshape(channels, channels)
    ridge = _SHRINKAGE * covariance.diagonal().mean() + 1e-6
    direction = torch.linalg.solve(covariance + ridge * torch.eye(channels), defective_C - mean)
    along = good_nC @ direction
    direction = direction / along.std().clamp_min(1e-6)
    return direction, direction @ mean
