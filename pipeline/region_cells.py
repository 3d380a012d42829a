"""Which cells of feature grids lie in a region of interest.

Shape letters: A augmentations, H x W the finest level's grid, h x w a level's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augmentations import AUGMENTATIONS
from pipeline.cell_grid import CellGrid
from pipeline.features import BackboneSpec
from pipeline.region_of_interest import RegionOfInterest
from pipeline.tile_grid import TileGrid

_INSIDE = 0.5  # of a cell's area


def region_of_views(region: RegionOfInterest, size: tuple[int, int], names: Sequence[str], grid: CellGrid) -> Tensor:
    """The finest grid's cells that lie in the region (1 + A, H, W) bool: of an image as it is, then of each view.

    A turned view shows the region where it shows the part; it may show none of it.

    Args:
        region: of the upright image.
        size: (height, width) of the model's input, or of the canvas of its tiles.
        names: of the A augmentations.
        grid: the finest.
    """
    seen = region.at(*size)
    views = [seen, *(AUGMENTATIONS[name](seen) for name in names)]
    return torch.stack([grid.over(_inside(view, grid.whole)) for view in views])


def tiles_within(region: RegionOfInterest, tiles: TileGrid, spec: BackboneSpec) -> TileGrid:
    """The grid with those tiles only that show some of the region best, as cells of that backbone's finest grid."""
    finest = spec.levels[0]
    whole = CellGrid((finest.height, finest.width), replace(tiles, seen=None)).whole
    inside = _inside(region.at(*tiles.canvas), whole)
    return tiles.within(inside) if inside.any() else tiles


def cells_inside(looked_at_HW: Tensor, grid: tuple[int, int], tiles: int = 1) -> Tensor:
    """A level's cells (h, w) bool whose features show the region, at least one where the finest grid has any.

    Half of a cell has to lie in it, or as much as of any. As a backbone averages features over 3 x 3 cells, those at
    the edge show what is outside as well: they are left out where a neighbour that lies deeper shows what they do. So
    all of the region is seen, and less of what is beside it (`benchmarks/region_of_interest.md`).

    `tiles` that stand below one another have each its own, on both grids.
    """
    if tiles > 1:
        height, width = grid
        return torch.cat([cells_inside(tile, (height // tiles, width)) for tile in looked_at_HW.chunk(tiles)])
    share = F.adaptive_avg_pool2d(looked_at_HW.float()[None, None], grid)
    inside = (share >= min(_INSIDE, float(share.max()))) & (share > 0)
    deep = ~_beside(~inside)
    return (deep | (inside & ~_beside(deep)))[0, 0]


def _beside(cells_11hw: Tensor) -> Tensor:
    """The cells themselves and their eight neighbours."""
    return F.max_pool2d(cells_11hw.float(), 3, 1, 1) > 0


def _inside(seen: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a cell lies in the region, of which 255 is wholly inside."""
    return cv2.resize(np.ascontiguousarray(seen), grid[::-1], interpolation=cv2.INTER_AREA) >= round(255 * _INSIDE)
