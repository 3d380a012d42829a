"""A region of interest for any head: outside cells are never seen, for cells from inside stand in for them.

Whatever a head computes over an image (nearest rows, medians, covariances, its highest cells) it computes over its
cells. So before it sees an image, every cell outside the region is overwritten by the features of one inside, and no
head and no learner needs to know of regions: nothing outside can reach a bank, a scale, a score or a map. Afterwards
the map outside is set to one low value.

Which cell stands in for which: next to the region, where maps are interpolated and averaged, the nearest one, so that
nothing strange borders on the region. Further off whole cells of the coarsest grid are copied with what of the finer
ones lies in them, evenly from all of the region, so that medians and shares are those of the region; and, while the
region has others, never to a place where distances count for more than where they come from
(`heads.bank.border_weight`).

Of an image that is seen as tiles (`pipeline.tile_grid`) each has stand-ins of its own, as a head is shown one tile at a
time and told which it is. A view that shows nothing of the region in a tile borrows another tile's.

Shape letters: A augmentations, B images, C channels of a level, T tiles, H x W the finest grid, h x w a level's grid,
P = T * h * w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model_zoo.heads.bank import border_weight
from pipeline.calibration import PooledCalibration
from pipeline.episodes import SupportSet, TensorLevels
from pipeline.learner import AnomalyHead, AnomalyOutput
from pipeline.region_cells import cells_inside

StandIns = tuple[Tensor, ...]
"""Per level (P,) int64: for each cell the one whose features it gets; a cell inside has its own."""


class SupportStandIns(NamedTuple):
    """Of an image as it is, and of each augmented view; None: that view shows nothing of the region."""

    plain: StandIns
    views: tuple[StandIns | None, ...]

    @classmethod
    def of(cls, support: SupportSet) -> SupportStandIns:
        """Those of a support that has a region."""
        assert support.looked_at is not None
        grids = [(level.shape[-2], level.shape[-1]) for level in support.good]
        found = [stand_ins(view, grids, support.tiles) if view.any() else None for view in support.looked_at]
        plain, *views = found
        assert plain is not None, "a region has cells at every size, see `pipeline.region_of_interest`"
        return cls(plain, tuple(views))

    def within(self, support: SupportSet) -> SupportSet:
        """The support as seen within its region. A view that shows nothing of it gives way to the image as it is."""
        good = filled(support.good, self.plain)
        finest = self.plain[:1]
        masks = filled((support.defect_masks[:, None],), finest)[0][:, 0]
        return replace(
            support,
            good=good,
            augmented=self._augmented(support, good),
            synthetic=filled(support.synthetic, self.plain),
            synthetic_masks=filled((support.synthetic_masks[:, None],), finest)[0][:, 0],
            defects=filled(support.defects, self.plain),
            defect_masks=masks,
            has_mask=support.has_mask & (masks.flatten(1) > 0).any(1),  # some touch the region in no cell
            looked_at=None,
        )

    def origin(self, sources_N4: Tensor, width: int) -> Tensor:
        """Bank sources of the coarsest level (N, 4) with the cells that stood in for those outside.

        `width` is of the coarsest grid.
        """
        image, augmentation, row, column = sources_N4.unbind(1)
        cell = row * width + column
        found, view = cell.clone(), augmentation.clone()
        for index, of_view in enumerate((self.plain, *self.views)):
            rows = augmentation == index - 1
            found[rows] = (of_view or self.plain)[-1][cell[rows]]
            view[rows] = index - 1 if of_view is not None else -1
        return torch.stack([image, view, found // width, found % width], 1)

    def _augmented(self, support: SupportSet, good: TensorLevels) -> TensorLevels:
        if not support.augmented[0].shape[1]:
            return support.augmented
        views = [
            good if view is None else filled(tuple(level[:, index] for level in support.augmented), view)
            for index, view in enumerate(self.views)
        ]
        return tuple(torch.stack(of_level, 1) for of_level in zip(*views, strict=True))


class RegionHead(AnomalyHead):
    """A head that sees the region alone; exportable. Its map outside is the lowest value that a good image has inside.

    Args:
        head: adapted to the support as `SupportStandIns.within` shows it.
        stand_ins: of the support.
        support: whose region it is.
    """

    looked_at: Tensor
    floor: Tensor

    def __init__(self, head: AnomalyHead, stand_ins: SupportStandIns, support: SupportSet) -> None:
        super().__init__()
        assert support.looked_at is not None
        self.head = head
        self.bank_sources = stand_ins.origin(head.bank_sources, support.good[-1].shape[-1])
        self.asks_tile, self._levels = support.tiles > 1, len(stand_ins.plain)
        for index, cells in enumerate(stand_ins.plain):
            self.register_buffer(f"cells_{index}", _of_tiles(cells, support.tiles) if self.asks_tile else cells)
        looked_at = support.looked_at[0]
        self.register_buffer("looked_at", torch.stack(looked_at.chunk(support.tiles)) if self.asks_tile else looked_at)
        with torch.no_grad():
            first = head(*self._within(tuple(level[:1] for level in support.good))).anomaly_map[0]
        self.register_buffer("floor", first[looked_at].min())

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        """Score a batch of feature levels, see `AnomalyHead.asks_tile`."""
        if len(levels) > self._levels:
            return self._of_tiles(levels[:-1], levels[-1])
        return self._floored(self.head(*self._within(levels)))

    @torch.no_grad()
    def leave_one_out(self, support: SupportSet) -> AnomalyOutput:
        """See `AnomalyHead`; the support has the head's region."""
        return self._floored(self.head.leave_one_out(SupportStandIns.of(support).within(support)))

    @torch.no_grad()
    def leave_one_defect_out(self, support: SupportSet) -> Tensor | None:
        """See `AnomalyHead`; the support has the head's region."""
        return self.head.leave_one_defect_out(SupportStandIns.of(support).within(support))

    def calibration_of(self, pooled: PooledCalibration) -> PooledCalibration:
        """That of the head inside."""
        return self.head.calibration_of(pooled)

    def _of_tiles(self, levels: TensorLevels, tile: Tensor) -> AnomalyOutput:
        """Of single tiles, whose numbers (B,) are told."""
        seen: list[Tensor] = []
        for level, cells in zip(levels, self._cells, strict=True):
            flat = level.flatten(2)
            channels = torch.zeros(1, flat.shape[1], 1, dtype=torch.int64)  # added, not expanded: see `_static_fill`
            seen.append(flat.gather(2, cells[tile][:, None] + channels).unflatten(2, level.shape[-2:]))
        output = self.head(*seen)
        return output._replace(anomaly_map=torch.where(self.looked_at[tile], output.anomaly_map, self.floor))

    def _within(self, levels: TensorLevels) -> TensorLevels:
        cells = self._cells
        return filled(levels, [_of_stack(each) if self.asks_tile else each for each in cells])

    def _floored(self, output: AnomalyOutput) -> AnomalyOutput:
        looked_at = self.looked_at.flatten(0, 1) if self.asks_tile else self.looked_at
        return output._replace(anomaly_map=torch.where(looked_at, output.anomaly_map, self.floor))

    @property
    def _cells(self) -> list[Tensor]:
        return [getattr(self, f"cells_{index}") for index in range(self._levels)]


def filled(levels: TensorLevels, cells: Sequence[Tensor]) -> TensorLevels:
    """Levels (B, C, h, w) with every cell's features those of the one that stands in for it."""
    return tuple(
        level.flatten(2)[:, :, of_level].unflatten(2, level.shape[-2:])
        for level, of_level in zip(levels, cells, strict=True)
    )


def stand_ins(looked_at_HW: Tensor, grids: Sequence[tuple[int, int]], tiles: int = 1) -> StandIns:
    """Which cell stands in for which, see the module.

    Args:
        looked_at_HW: bool, the finest grid's cells inside, at least one.
        grids: (h, w) of each level, each a multiple of the coarsest, which is the last.
        tiles: that stand below one another in all of them.
    """
    of_tile = [(h // tiles, w) for h, w in grids]
    views = looked_at_HW.chunk(tiles)
    shown = [number for number, view in enumerate(views) if view.any()]
    whose = [number if number in shown else shown[number % len(shown)] for number in range(tiles)]
    known = {number: _stand_ins(views[number], of_tile) for number in shown}
    return tuple(
        torch.cat([known[number][level] + number * h * w for number in whose]) for level, (h, w) in enumerate(of_tile)
    )


def _of_tiles(cells_P: Tensor, tiles: int) -> Tensor:
    """Cells of a stack's tiles (T, P / T), each within its own."""
    each = cells_P.unflatten(0, (tiles, -1))
    return each - each.shape[1] * torch.arange(tiles)[:, None]


def _of_stack(cells_Tp: Tensor) -> Tensor:
    """The inverse of `_of_tiles`."""
    return (cells_Tp + cells_Tp.shape[1] * torch.arange(len(cells_Tp))[:, None]).flatten()


def _stand_ins(looked_at_HW: Tensor, grids: Sequence[tuple[int, int]]) -> StandIns:
    """Of a whole image, or of a tile."""
    rows, columns = grids[-1]
    assert all(h % rows == 0 and w % columns == 0 for h, w in grids)
    inside = cells_inside(looked_at_HW, grids[-1])
    touched = (inside | (F.adaptive_max_pool2d(looked_at_HW.float()[None], grids[-1])[0] > 0)).float()
    far = (F.max_pool2d(touched[None], 3, 1, 1)[0] == 0).flatten().nonzero()[:, 0]
    sources = _evenly(far, inside.flatten().nonzero()[:, 0], grids)
    found = []
    for h, w in grids:
        nearest = _nearest(cells_inside(looked_at_HW, (h, w)))
        blocks = nearest.reshape(rows, h // rows, columns, w // columns).transpose(1, 2).flatten(0, 1).clone()
        blocks[far] = blocks[sources]
        found.append(blocks.unflatten(0, (rows, columns)).transpose(1, 2).flatten())
    return tuple(found)


def _nearest(inside_hw: Tensor) -> Tensor:
    """For each cell the nearest one inside (P,)."""
    outside = (~inside_hw).numpy().astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    labels = np.asarray(labels, np.int64).ravel()
    cells = np.flatnonzero(outside == 0)
    of_label = np.zeros(labels.max() + 1, np.int64)
    of_label[labels[cells]] = cells
    return torch.from_numpy(of_label[labels])


def _evenly(far: Tensor, inside: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
    """For each far cell of the coarsest grid one inside, all in turn that count for at least as much."""
    weight = border_weight(*grids[0])[None]
    most = F.adaptive_max_pool2d(weight, grids[-1]).flatten()
    least = -F.adaptive_max_pool2d(-weight, grids[-1]).flatten()[inside]
    sources = torch.empty_like(far)
    for value in most[far].unique():
        cells = (most[far] == value).nonzero()[:, 0]
        allowed = inside[least >= torch.minimum(value, least.max())]
        sources[cells] = allowed[torch.arange(len(cells)) * len(allowed) // len(cells)]
    return sources
