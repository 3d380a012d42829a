"""A backbone that sees an image as tiles: their features below one another, as one image's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.features import BackboneSpec, FeatureExtractor, Levels
from pipeline.tile_grid import TileGrid


class TiledExtractor:
    """Cuts images of the grid's canvas and looks at one tile after the other.

    Args:
        extractor: of a tile.
        tiles: the grid.
    """

    def __init__(self, extractor: FeatureExtractor, tiles: TileGrid) -> None:
        self._extractor = extractor
        self._tiles = tiles

    @property
    def spec(self) -> BackboneSpec:
        """What is computed of a tile."""
        return self._extractor.spec

    def extract(self, images_BHWC: NDArray[np.uint8]) -> Levels:
        """Features of uint8 RGB images of the canvas's size: level l is (B, C_l, T * h_l, w_l)."""
        B, T = len(images_BHWC), self._tiles.count
        levels = [
            np.empty((B, level.channels, T * level.height, level.width), np.float32) for level in self.spec.levels
        ]
        for image, whole in enumerate(images_BHWC):
            for tile, pixels in enumerate(self._tiles.cut(whole)):
                for level, seen in zip(levels, self._extractor.extract(pixels[None]), strict=True):
                    rows = seen.shape[2]
                    level[image, :, tile * rows : (tile + 1) * rows] = seen[0]
        return levels
