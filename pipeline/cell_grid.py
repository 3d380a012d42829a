"""The finest grid of a support's features: masks as the share of each of its cells that is marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.tile_grid import TileGrid


@dataclass(frozen=True)
class CellGrid:
    """The grid (H, W) of an image that is seen whole, or as `tiles`, whose grids stand below one another."""

    shape: tuple[int, int]
    tiles: TileGrid | None = None

    def shares(self, mask: NDArray[np.bool_]) -> Tensor:
        """The share of each cell that a mask of the image, at any size, marks (H, W), 0..1."""
        height, width = self.whole
        return self.over(cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA))

    def over(self, whole: NDArray[Any]) -> Tensor:
        """What lies over the image, (`whole`), on this grid (H, W)."""
        return torch.from_numpy(whole if self.tiles is None else self.tiles.stacked(whole))

    def of_all(self, masks: Sequence[NDArray[np.bool_] | None]) -> Tensor:
        """Those of B masks (B, H, W), nothing where there is none."""
        shares = [torch.zeros(self.shape) if mask is None else self.shares(mask) for mask in masks]
        return torch.stack(shares) if shares else torch.zeros(0, *self.shape)

    @property
    def whole(self) -> tuple[int, int]:
        """Height and width of the grid that lies over the image."""
        if self.tiles is None:
            return self.shape
        stride = self.tiles.side // self.shape[1]
        height, width = self.tiles.canvas
        return height // stride, width // stride
