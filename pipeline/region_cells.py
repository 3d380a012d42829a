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
    """A level's cells (h, w) bool that lie in the region, at least one where the finest grid has any.

    Half of a cell has to, or as much as of any.
    """
    share = F.adaptive_avg_pool2d(looked_at_HW.float()[None, None], grid)[0, 0]
    return (share >= min(_INSIDE, float(share.max()))) & (share > 0)
