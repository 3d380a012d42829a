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
class PatchSample:
    """Patches of views that a support does not hold in full, as many of each view.

    Args:
        vectors: per level float32 (n, C).
        sources: per level int64 (n, 4): good image, augmentation (-1: none), grid row, grid column. Images are counted
            as the support counts them: from K on they are further ones, below it turned views of those in full.
    """

    vectors: tuple[Tensor, ...]
    sources: tuple[Tensor, ...]

    @property
    def views(self) -> int:
        """How many views the patches come from."""
        return len(torch.unique(self.sources[0][:, :2], dim=0))

    def behind(self, k: int, more: int) -> PatchSample:
        """The same when so many images have come to stand behind the K in full: further ones move up."""
        moved = [torch.cat([s[:, :1] + more * (s[:, :1] >= k), s[:, 1:]], 1) for s in self.sources]
        return PatchSample(vectors=self.vectors, sources=tuple(moved))

    def without(self, others: Tensor) -> PatchSample:
        """Those of all images but some of the K in full, the images numbered anew; `others` (K,) bool are kept."""
        last = max(int(sources[:, 0].max()) for sources in self.sources)
        kept = torch.cat([others, torch.ones(max(0, last + 1 - len(others)), dtype=torch.bool)])
        numbers = kept.cumsum(0) - 1
        rows = [kept[sources[:, 0]] for sources in self.sources]
        left = [sources[of_level] for sources, of_level in zip(self.sources, rows, strict=True)]
        return PatchSample(
            vectors=tuple(vectors[of_level] for vectors, of_level in zip(self.vectors, rows, strict=True)),
            sources=tuple(torch.cat([numbers[sources[:, :1]], sources[:, 1:]], 1) for sources in left),
        )


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
        further: of more good images than are held in full; None: there are no more. All of them lie in the region.
        looked_at: (1 + A, H, W) bool, the finest grid's cells that lie in the line's region of interest, of an image as
            it is and of each augmentation, those of `further` among them; None: all of an image is looked at. Features
            outside are there all the same: whoever adapts leaves them out.
        tiles: T that an image is seen as (`pipeline.tile_grid`): every grid here then has T times a tile's rows, those
            of the tiles below one another, so that one image is one of K, N or M as always. 1: images are seen whole.
    """

    good: TensorLevels
    augmented: TensorLevels
    synthetic: TensorLevels
    synthetic_masks: Tensor
    synthetic_parents: Tensor
    defects: TensorLevels
    defect_masks: Tensor
    has_mask: Tensor
    further: PatchSample | None = None
    looked_at: Tensor | None = None
    tiles: int = 1

    @property
    def tile_grid(self) -> tuple[int, int]:
        """(H, W) of a tile, or of the whole image."""
        height, width = self.good[0].shape[-2:]
        return height // self.tiles, width

    @property
    def k(self) -> int:
        """Number of good images that are held in full."""
        return self.good[0].shape[0]

    @property
    def good_images(self) -> int:
        """Number of all good images, those among them that only left a sample of their patches."""
        if self.further is None:
            return self.k
        images = self.further.sources[0][:, 0]
        return self.k + len(torch.unique(images[images >= self.k]))

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
            further=None if self.further is None else self.further.without(others),
        )

    def joined_by(self, unlabelled: UnlabelledSet) -> SupportSet:
        """The support with more good images, which come behind its own K and before further ones.

        Augmentations stay where both have the same ones; else there are none: with more images they are not needed.
        """
        alike = self.augmented[0].shape[1] == unlabelled.augmented[0].shape[1]
        more = len(unlabelled.levels[0])
        return replace(
            self,
            good=tuple(torch.cat(levels) for levels in zip(self.good, unlabelled.levels, strict=True)),
            augmented=tuple(
                torch.cat(levels) if alike else levels[0].new_zeros(self.k + more, 0, *levels[0].shape[2:])
                for levels in zip(self.augmented, unlabelled.augmented, strict=True)
            ),
            further=None if self.further is None else self.further.behind(self.k, more),
        )

    def with_defects(self, indices: Sequence[int]) -> SupportSet:
        """The support with some of its defective images only."""
        rows = torch.tensor(list(indices), dtype=torch.int64)
        return replace(
            self,
            defects=tuple(level[rows] for level in self.defects),
            defect_masks=self.defect_masks[rows],
            has_mask=self.has_mask[rows],
        )


@dataclass(frozen=True, kw_only=True)
class UnlabelledSet:
    """U images of the line's production, good or not: levels (U, C, h, w), their augmentations (U, A, C, h, w)."""

    levels: TensorLevels
    augmented: TensorLevels

    def only(self, chosen: Tensor) -> UnlabelledSet:
        """Some of them; `chosen` (U,) bool."""
        return UnlabelledSet(
            levels=tuple(level[chosen] for level in self.levels),
            augmented=tuple(level[chosen] for level in self.augmented),
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
