"""A large image as a grid of tiles that overlap, each as large as a model's input. Torch-free.

The image is brought to the grid's canvas, about its own size, and cut. A neighbour overlaps a tile by a quarter of its
side: a head trusts what lies near a tile's border less (`model_zoo.heads.bank.border_weight`), and so every place but
the image's own border counts in full in one tile at least. Features, maps and masks of the canvas are cut alike, on
grids whose cells divide a tile's side and the overlap.

Of a line with a region of interest only those tiles are looked at that show some of it best: the others are never cut.

Shape letters: T tiles that are looked at, row by row; H x W an array over the canvas, h x w its part in a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.input_size import MULTIPLE, InputSize

MOST_TILES = 576
"""Of an image: 24 x 24 tiles of 256 px are an image of 21 Mpx, of 512 px one of 86 Mpx."""
_OVERLAP = 0.25  # of a tile's side

Place = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """So many rows and columns of square tiles; `side` of one, and `overlap` of two neighbours, in pixels.

    `seen`: the numbers of the tiles that are looked at, row by row, ascending; None: all.
    """

    rows: int
    columns: int
    side: int
    overlap: int
    seen: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not (self.rows >= 1 <= self.columns and 2 <= self.rows * self.columns <= MOST_TILES):
            raise ValueError(f"expected 2 to {MOST_TILES} tiles, got {self.rows} x {self.columns}")
        if not 0 < self.overlap < self.side:
            raise ValueError(f"expected an overlap of 1 to {self.side - 1} px, got {self.overlap}")
        if self.seen is not None and not (
            0 < len(self.seen) == len(set(self.seen))
            and list(self.seen) == sorted(self.seen)
            and 0 <= self.seen[0] <= self.seen[-1] < self.rows * self.columns
        ):
            raise ValueError(f"expected numbers of {self.rows} x {self.columns} tiles, ascending, got {self.seen}")

    @classmethod
    def of(cls, shape: tuple[int, int], side: int) -> Self:
        """The grid of that many (rows, columns)."""
        return cls(rows=shape[0], columns=shape[1], side=side, overlap=overlap_of(side))

    @property
    def count(self) -> int:
        """T."""
        return self.rows * self.columns if self.seen is None else len(self.seen)

    @property
    def canvas(self) -> InputSize:
        """What all tiles together cover."""
        step = self.side - self.overlap
        return InputSize(self.rows * step + self.overlap, self.columns * step + self.overlap)

    def within(self, inside: NDArray[np.bool_]) -> Self:
        """The grid with those tiles only that show a place inside best: whose border is the farthest from it.

        Args:
            inside: (H, W), somewhere true.
        """
        whole = replace(self, seen=None)
        seen = [number for number, (_, owned) in enumerate(whole._innermost(len(inside))) if inside[owned].any()]
        return replace(self, seen=tuple(seen) if len(seen) < whole.count else None)

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
        """The T maps (h, w) as one of the canvas (H, W): where tiles overlap, the largest value, and nan before any.

        Where no tile is looked at, it is as low as anywhere, and no higher than 0, an ordinary good cell's.
        """
        unseen = -np.inf if self.seen is None else np.min([0, *(tile.min() for tile in tiles)])
        whole = np.full(self._shape_of(tiles[0]), unseen, tiles[0].dtype)
        for place, tile in zip(self._places(len(whole)), tiles, strict=True):
            np.maximum(whole[place], tile, out=whole[place])
        return whole

    def innermost(self, tiles: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """The T arrays (h, w) as one of the canvas (H, W): where tiles overlap, of the one whose border is farther.

        It is 0 where that one is not looked at.
        """
        whole = np.zeros(self._shape_of(tiles[0]), tiles[0].dtype)
        for (part, owned), tile in zip(self._innermost(len(whole)), tiles, strict=True):
            whole[owned] = tile[part]
        return whole

    def on_canvas(self, rows: NDArray[Any], columns: NDArray[Any], side: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Where on the canvas cells of a stack lie; `side` is a tile's on their grid."""
        tile, step = np.asarray(self._numbers)[rows // side], side * (self.side - self.overlap) // self.side
        return tile // self.columns * step + rows % side, tile % self.columns * step + columns

    def _shape_of(self, tile: NDArray[Any]) -> tuple[int, int]:
        """Of the canvas, on the grid of a tile."""
        height, width = self.canvas
        return height * len(tile) // self.side, width * len(tile) // self.side

    @property
    def _numbers(self) -> Sequence[int]:
        """Of the tiles that are looked at."""
        return range(self.rows * self.columns) if self.seen is None else self.seen

    def _places(self, height: int) -> Iterable[tuple[slice, slice]]:
        """Where the tiles lie in an array over the canvas."""
        side, step = self._cells(height)
        for number in self._numbers:
            row, column = (step * place for place in divmod(number, self.columns))
            yield slice(row, row + side), slice(column, column + side)

    def _innermost(self, height: int) -> Iterable[tuple[Place, Place]]:
        """The part of each tile whose places are nearer to its middle than to another's, and where on the canvas."""
        side, step = self._cells(height)
        overlap = side - step
        for number in self._numbers:
            row, column = divmod(number, self.columns)
            part = _inner(side, overlap, row, self.rows), _inner(side, overlap, column, self.columns)
            yield part, (_moved(part[0], step * row), _moved(part[1], step * column))

    def _cells(self, height: int) -> tuple[int, int]:
        """A tile's side, and from one to the next, in an array over the canvas that is so high."""
        side, step = (length * height // self.canvas.height for length in (self.side, self.side - self.overlap))
        return side, step


def overlap_of(side: int) -> int:
    """Of two neighbours among tiles of that side."""
    return MULTIPLE * max(1, round(_OVERLAP * side / MULTIPLE))


def tiles_at_own_size(
    size: tuple[int, int],
    side: int,
    most: int = MOST_TILES,
    looked_at: Callable[[int, int], int] = lambda rows, columns: rows * columns,
) -> tuple[int, int]:
    """Rows and columns of tiles that show an image at about its own size, or as near to it as so many tiles come.

    Args:
        size: (height, width) of the upright image.
        side: of a tile.
        most: tiles that are looked at, at least 1.
        looked_at: how many of so many rows and columns are.
    """
    overlap = overlap_of(side)
    step, scale = side - overlap, 1.0
    while True:
        rows, columns = (max(1, round((length * scale - overlap) / step)) for length in size)
        if rows * columns <= MOST_TILES and looked_at(rows, columns) <= most:
            return rows, columns
        scale *= 0.98


def _inner(side: int, overlap: int, place: int, of: int) -> slice:
    """Half of an overlap is each tile's; the first and the last have their ends as well."""
    before = overlap // 2
    return slice(before if place else 0, side - (overlap - before if place < of - 1 else 0))


def _moved(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)
