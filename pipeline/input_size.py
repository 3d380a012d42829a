"""The size of what a backbone sees: a square, or an oblong with the proportions of a line's images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple, Self

MULTIPLE = 32
"""Of an oblong's sides, in pixels: the grids of all strides, and of a transformer at half the cells, divide them."""
OBLONG_FROM = 1.25
"""Longer side by shorter: images below it are looked at as squares."""
_ALIKE = 1.1  # by which the proportions of a line's images may differ, largest by smallest
_MORE = 1.05  # as many pixels as the square's an oblong may have, for what they cost
_SHORTEST = 64


class InputSize(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height} px" if self.is_square else f"{self.height} × {self.width} px"

    @property
    def is_square(self) -> bool:
        """Whether both sides are as long."""
        return self.height == self.width

    @property
    def side(self) -> int:
        """Of the square with about as many pixels."""
        return self.height if self.is_square else MULTIPLE * round(math.sqrt(self.height * self.width) / MULTIPLE)

    @classmethod
    def of(cls, size: int | tuple[int, int]) -> Self:
        """From a square's side, or height and width."""
        return cls(size, size) if isinstance(size, int) else cls(*size)

    @classmethod
    def following(cls, ratio: float, side: int) -> Self:
        """The oblong of about that ratio, height by width, with about as many pixels as the square of that side."""
        most = _MORE * side * side
        lengths = range(_SHORTEST, int(most) // _SHORTEST + 1, MULTIPLE)
        sizes = (cls(height, width) for height in lengths for width in lengths if height * width <= most)

        def missed(size: InputSize) -> float:
            height, width = size
            return abs(math.log(height / width / ratio)) + 2 * abs(math.log(height * width / side**2))

        return min(sizes, key=missed)


def oblong_ratio(sizes: Sequence[tuple[int, int]]) -> float | None:
    """Height by width of a line's images; None: they are nearly square, or of different proportions.

    Args:
        sizes: (height, width) of the upright images, at least one.
    """
    ratios = [height / width for height, width in sizes]
    ratio = statistics.median(ratios)
    if max(ratio, 1 / ratio) < OBLONG_FROM or max(ratios) > _ALIKE * min(ratios):
        return None
    return ratio
