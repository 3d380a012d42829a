"""Surfaces: the types that texture recipes share.

Coordinates u, v are reference pixels (an image is 256 of them wide at any size), rotated and shifted by the image's
pose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.synthetic.fields import Field, Material, fractal_noise

_TABLE = 256


@dataclass(frozen=True)
class Frame:
    """Where and with what chance a surface is drawn: coordinates (H, W) and the image's own generator."""

    u: Field
    v: Field
    rng: np.random.Generator

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.u.shape[0], self.u.shape[1]

    @property
    def scale(self) -> float:
        """Image pixels per reference pixel."""
        return max(self.shape) / 256

    def noise(self, cells: float, octaves: int = 4, persistence: float = 0.55) -> Field:
        """Isotropic unit-variance noise of this image; `cells` per image at the coarsest octave."""
        return fractal_noise(self.rng, self.shape, cells=cells, octaves=octaves, persistence=persistence)

    def grain(self, along: float, across: float, *, turned: bool = False) -> Field:
        """Unit-variance noise stretched along u (along v if `turned`): correlation lengths in reference pixels."""
        table = fractal_noise(self.rng, (_TABLE, _TABLE), cells=64, octaves=2)
        table = cv2.copyMakeBorder(table, 0, 2, 0, 2, cv2.BORDER_WRAP)
        along_axis, across_axis = (self.v, self.u) if turned else (self.u, self.v)
        # Wrapped here: cv2.remap's own wrapping border is ten times slower.
        wide, tall = _wrapped(along_axis, 4 / along), _wrapped(across_axis, 4 / across)
        return np.asarray(cv2.remap(table, wide, tall, cv2.INTER_LINEAR), np.float32)


class Surface:
    """A drawn surface: `tone` (0..1 between the line's two colours) and relief `height` (0..1), float32 (H, W).

    The constructor clips and converts, so that recipes need not.
    """

    def __init__(self, tone: Field, height: Field) -> None:
        self.tone = np.clip(tone, 0, 1).astype(np.float32, copy=False)
        self.height = np.clip(height, 0, 1).astype(np.float32, copy=False)


@dataclass(frozen=True)
class Lattice:
    """The repeating unit of an ordered surface, in reference pixels, and what shows where a unit is missing."""

    period_u: float
    period_v: float
    blank_tone: float
    blank_height: float


@dataclass(frozen=True)
class TextureRecipe:
    """One line's surface.

    Args:
        draw: the surface of one image.
        materials: families its colours come from.
        relief: depth of the relief, in reference pixels.
        lattice: the repeating unit; None for surfaces without order.
        wave: how far fabric-like distortion may carry a point, in reference pixels.
        two_coloured: whether the second colour may be of another family.
    """

    draw: Callable[[Frame], Surface]
    materials: tuple[Material, ...]
    relief: float
    lattice: Lattice | None = None
    wave: float = 0.0
    two_coloured: bool = False


def _wrapped(coordinate: Field, scale: float) -> Field:
    position = coordinate * np.float32(scale / _TABLE)
    return ((position - np.floor(position)) * np.float32(_TABLE)).astype(np.float32, copy=False)
