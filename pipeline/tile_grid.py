"""A large image as a grid of tiles that overlap, each as large as a model's input. Torch-free.

The image is brought to the grid's canvas, about its own size, and cut. A neighbour overlaps a tile by a quarter of its
side: a head trusts what lies near a tile's border less (`model_zoo.heads.bank.border_weight`), and so every place but
the image's own border counts in full in one tile at least. Features, maps and masks of the canvas are cut alike, on
grids whose cells divide a tile's side and the overlap.

Shape letters: T tiles, row by row; H x W an array over the canvas, h x w its part in a tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.input_size import MULTIPLE, InputSize

MOST_TILES = 576
"""Of an image: 24 x 24 tiles of 256 px are an image of 21 Mpx, of 512 px one of 86 Mpx."""
_OVERLAP = 0.25  # of a tile's side


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """So many rows and columns of square tiles; `side` of one, and `overlap` of two neighbours, in pixels."""

    rows: int
    columns: int
    side: int
    overlap: int

    def __post_init__(self) -> None:
        if not (self.rows >= 1 <= self.columns and 2 <= self.count <= MOST_TILES):
            raise ValueError(f"expected 2 to {MOST_TILES} tiles, got {self.rows} x {self.columns}")
        if not 0 < self.overlap < self.side:
            raise ValueError(f"expected an overlap of 1 to {self.side - 1} px, got {self.overlap}")

    @classmethod
    def of(cls, shape: tuple[int, int], side: int) -> Self:
        """The grid of that many (rows, columns)."""
        return cls(rows=shape[0], columns=shape[1], side=side, overlap=overlap_of(side))

    @property
    def count(self) -> int:
        """T."""
        return self.rows * self.columns

    @property
    def canvas(self) -> InputSize:
        """What all tiles together cover."""
        step = self.side - self.overlap
        return InputSize(self.rows * step + self.overlap, self.columns * step + self.overlap)

    def cut(self, whole: NDArray[Any]) -> list[NDArray[Any]]:
        """The T parts (h, w, ...) of an array over the canvas (H, W, ...), which are views of it."""
        return [whole[place] for place in self._places(whole.shape[0])]

    def stacked(self, whole: NDArray[Any]) -> NDArray[Any]:
        """The same below one another (T * h, w, ...)."""
        return np.concatenate(self.cut(whole))

    def unstacked(self, stack: NDArray[Any]) -> list[NDArray[Any]]:
        """The T parts (h, w) of a stack."""
        return np.split(stack, self.count)

    def largest(self, tiles: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """The T maps (h, w) as one of the canvas (H, W): where tiles overlap, the largest value, and nan before any."""
        whole = np.full(self._shape_of(tiles[0]), -np.inf, tiles[0].dtype)
        for place, tile in zip(self._places(len(whole)), tiles, strict=True):
            np.maximum(whole[place], tile, out=whole[place])
        return whole

    def innermost(self, tiles: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """The T arrays (h, w) as one of the canvas (H, W): where tiles overlap, of the one whose border is farther."""
        whole = np.empty(self._shape_of(tiles[0]), tiles[0].dtype)
        cells = len(tiles[0]) * self.overlap // self.side
        before, behind = cells // 2, cells - cells // 2
        for index, (place, tile) in enumerate(zip(self._places(len(whole)), tiles, strict=True)):
            row, column = divmod(index, self.columns)
            rows = _inner(len(tile), before if row else 0, behind if row < self.rows - 1 else 0)
            columns = _inner(tile.shape[1], before if column else 0, behind if column < self.columns - 1 else 0)
            whole[place][rows, columns] = tile[rows, columns]
        return whole

    def on_canvas(self, rows: NDArray[Any], columns: NDArray[Any], side: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Where on the canvas cells of a stack lie; `side` is a tile's on their grid."""
        tile, step = rows // side, side * (self.side - self.overlap) // self.side
        return tile // self.columns * step + rows % side, tile % self.columns * step + columns

    def _shape_of(self, tile: NDArray[Any]) -> tuple[int, int]:
        """Of the canvas, on the grid of a tile."""
        height, width = self.canvas
        return height * len(tile) // self.side, width * len(tile) // self.side

    def _places(self, height: int) -> Iterable[tuple[slice, slice]]:
        """Where the tiles lie in an array over the canvas."""
        side, step = (length * height // self.canvas.height for length in (self.side, self.side - self.overlap))
        for row in range(0, self.rows * step, step):
            for column in range(0, self.columns * step, step):
                yield slice(row, row + side), slice(column, column + side)


def overlap_of(side: int) -> int:
    """Of two neighbours among tiles of that side."""
    return MULTIPLE * max(1, round(_OVERLAP * side / MULTIPLE))


def tiles_at_own_size(size: tuple[int, int], side: int, most: int = MOST_TILES) -> tuple[int, int]:
    """Rows and columns of tiles that show an image at about its own size, or as near to it as so many tiles come.

    Args:
        size: (height, width) of the upright image.
        side: of a tile.
        most: tiles, at least 1.
    """
    overlap = overlap_of(side)
    step, scale = side - overlap, 1.0
    while True:
        rows, columns = (max(1, round((length * scale - overlap) / step)) for length in size)
        if rows * columns <= most:
            return rows, columns
        scale *= 0.98


def _inner(length: int, before: int, behind: int) -> slice:
    return slice(before, length - behind)
