"""Episodes: a support set to adapt from, a query set to judge by, of one product line.

Shape letters: K good images, A augmentations of each, N synthetic defects, M real defects, Q query images;
C channels, h x w a level's grid, H x W the finest level's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

TensorLevels = tuple[Tensor, ...]
"""Feature maps, finest first: level l is float32 (B, C_l, h_l, w_l)."""


@dataclass(frozen=True, kw_only=True)
class SupportSet:
    """What a line gives to adapt from, as frozen features. Learners must not change it.

    Args:
        good: K good images, levels (K, C, h, w).
        augmented: their augmentations (flips, rotations), levels (K, A, C, h, w); A may be 0.
        synthetic: N synthetic defects painted on good images, levels (N, C, h, w); N may be 0.
        synthetic_masks: (N, H, W) defect fraction of each cell of the finest grid, 0..1.
        synthetic_parents: (N,) int64, which good image each was painted on.
        defects: M real defects, levels (M, C, h, w); M may be 0.
        defect_masks: (M, H, W) defect fraction, 0..1; all zero where `has_mask` is False.
        has_mask: (M,) bool; False: only the image's label is known (weak supervision).
    """

    good: TensorLevels
    augmented: TensorLevels
    synthetic: TensorLevels
    synthetic_masks: Tensor
    synthetic_parents: Tensor
    defects: TensorLevels
    defect_masks: Tensor
    has_mask: Tensor

    @property
    def k(self) -> int:
        """Number of good images."""
        return self.good[0].shape[0]

    @property
    def m(self) -> int:
        """Number of defective images."""
        return self.defects[0].shape[0]

    def without_good(self, indices: Sequence[int]) -> SupportSet:
        """The support without some good images, their augmentations and the synthetic defects painted on them."""
        others = torch.ones(self.k, dtype=torch.bool)
        others[list(indices)] = False
        kept = others[self.synthetic_parents]
        return replace(
            self,
            good=tuple(level[others] for level in self.good),
            augmented=tuple(level[others] for level in self.augmented),
            synthetic=tuple(level[kept] for level in self.synthetic),
            synthetic_masks=self.synthetic_masks[kept],
            synthetic_parents=(others.cumsum(0) - 1)[self.synthetic_parents[kept]],
        )


@dataclass(frozen=True, kw_only=True)
class QuerySet:
    """Images to judge by: levels (Q, C, h, w), labels (Q,) bool, masks (Q, H, W) defect fraction 0..1,
    has_mask (Q,) bool (a good image's empty mask counts as one).
    """

    levels: TensorLevels
    labels: Tensor
    masks: Tensor
    has_mask: Tensor


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One few-shot task."""

    line: str
    support: SupportSet
    query: QuerySet
