"""Which cells of feature grids lie in a region of interest.

Shape letters: A augmentations, H x W the finest level's grid, h x w a level's grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.augmentations import AUGMENTATIONS
from pipeline.region_of_interest import RegionOfInterest

_INSIDE = 0.5  # of a cell's area


def region_of_views(
    region: RegionOfInterest, size: tuple[int, int], names: Sequence[str], grid: tuple[int, int]
) -> Tensor:
    """The finest grid's cells that lie in the region (1 + A, H, W) bool: of an image as it is, then of each view.

    A turned view shows the region where it shows the part; it may show none of it.

    Args:
        region: of the upright image.
        size: (height, width) of the model's input.
        names: of the A augmentations.
        grid: (H, W).
    """
    seen = region.at(*size)
    views = [seen, *(AUGMENTATIONS[name](seen) for name in names)]
    small = [cv2.resize(np.ascontiguousarray(view), grid[::-1], interpolation=cv2.INTER_AREA) for view in views]
    return torch.from_numpy(np.stack(small) >= round(255 * _INSIDE))


def cells_inside(looked_at_HW: Tensor, grid: tuple[int, int]) -> Tensor:
    """A level's cells (h, w) bool whose features show the region, at least one where the finest grid has any.

    Half of a cell has to lie in it, or as much as of any. As a backbone averages features over 3 x 3 cells, those at
    the edge show what is outside as well: they are left out where a neighbour that lies deeper shows what they do. So
    all of the region is seen, and less of what is beside it (`benchmarks/region_of_interest.md`).
    """
    share = F.adaptive_avg_pool2d(looked_at_HW.float()[None, None], grid)
    inside = (share >= min(_INSIDE, float(share.max()))) & (share > 0)
    deep = ~_beside(~inside)
    return (deep | (inside & ~_beside(deep)))[0, 0]


def _beside(cells_11hw: Tensor) -> Tensor:
    """The cells themselves and their eight neighbours."""
    return F.max_pool2d(cells_11hw.float(), 3, 1, 1) > 0
