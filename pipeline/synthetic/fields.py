"""Random fields and colours: the raw material of generated surfaces.

Shape letters: H x W image pixels. Fields are float (H, W); every draw comes from the generator that is passed in.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
Colour = NDArray[np.float32]
"""RGB, float32 (3,), 0..255."""
Range = tuple[float, float]


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur of a field (H, W) or image (H, W, 3); sigma in pixels, at most 0 leaves it as it is."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32) if sigma > 0 else field


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A draw whose logarithm is uniform: as many small ones as large ones."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 4096) for i in range(4096)], np.float32)


def white_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal noise in 4096 levels: for whole images, several times faster than `Generator.standard_normal`."""
    count = int(np.prod(shape))
    words = np.frombuffer(rng.bytes(2 * count), "<u2")
    return _QUANTILES[words >> 4].reshape(shape)


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    cells: float = 4.0,
    octaves: int = 4,
    persistence: float = 0.55,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Field:
    """Value noise summed over octaves, about zero mean and unit variance.

    Args:
        rng: the source of randomness.
        shape: (H, W).
        cells: grid cells of the coarsest octave along the longer side; each octave doubles them.
        octaves: how many, at least 1.
        persistence: amplitude of an octave relative to the one before.
        stretch: factors on the number of cells along y and x: unequal ones give a grain.
    """
    height, width = shape
    longer = max(height, width)
    total = np.zeros((1, 1), np.float32)
    power, amplitude = 0.0, 1.0
    for octave in range(octaves):
        count = cells * 2**octave
        rows = min(int(count * stretch[0] * height / longer) + 2, height + 2)
        columns = min(int(count * stretch[1] * width / longer) + 2, width + 2)
        lattice = rng.standard_normal((rows, columns), dtype=np.float32)
        # Summed on the lattices: only the finest is resized to the whole image.
        total = amplitude * lattice + cv2.resize(total, (columns, rows), interpolation=cv2.INTER_CUBIC)
        power += amplitude**2
        amplitude *= persistence
    whole = cv2.resize(total, (width, height), interpolation=cv2.INTER_CUBIC)
    return whole * np.float32(1.35 / np.sqrt(power))  # interpolation between lattice points loses variance


def to_unit(noise: Field, spread: float = 0.22) -> Field:
    """Unit-variance noise as 0..1 around 0.5; a fixed mapping, so that a line's contrast does not vary by image."""
    return np.clip(0.5 + spread * noise, 0, 1, dtype=np.float32)


@dataclass(frozen=True)
class Cells:
    """Voronoi cells: `distance` to the own seed point in pixels, and each pixel's cell `label` (from 0)."""

    distance: Field
    label: NDArray[np.int32]
    count: int


def voronoi_cells(rng: np.random.Generator, shape: tuple[int, int], count: int) -> Cells:
    """Cells around about `count` seed points on a jittered grid (evenly spread, as grains and pores are)."""
    height, width = shape
    columns = max(2, round(float(np.sqrt(count * width / height))))
    rows = max(2, round(count / columns))
    grid_y, grid_x = np.mgrid[0:rows, 0:columns]
    y = (grid_y + rng.uniform(0, 1, grid_y.shape)) * height / rows
    x = (grid_x + rng.uniform(0, 1, grid_x.shape)) * width / columns
    empty = np.ones(shape, np.uint8)
    empty[y.astype(int).clip(0, height - 1), x.astype(int).clip(0, width - 1)] = 0
    distance, label = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return Cells(np.asarray(distance, np.float32), np.asarray(label, np.int32) - 1, int((empty == 0).sum()))


def relief_shading(height: Field, light: tuple[float, float]) -> Field:
    """Lambert-like factor around 1 of a relief (in pixels) lit from direction `light` (x, y; length is strength)."""
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    lambert = 1.0 + (slope_x * light[0] + slope_y * light[1]) / np.sqrt(1.0 + slope_x**2 + slope_y**2)
    return np.clip(lambert, 0.35, 1.7, dtype=np.float32)


def pixel_grid(shape: tuple[int, int]) -> tuple[Field, Field]:
    """Pixel coordinates (x, y), each float32 (H, W)."""
    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    return x, y


class Material(NamedTuple):
    """A family of colours: ranges of hue, saturation and value, each 0..1."""

    hue: Range
    saturation: Range
    value: Range


STEEL = Material((0.55, 0.65), (0.0, 0.10), (0.45, 0.80))
BRASS = Material((0.10, 0.14), (0.35, 0.60), (0.50, 0.80))
COPPER = Material((0.04, 0.08), (0.40, 0.65), (0.50, 0.80))
TIMBER = Material((0.05, 0.10), (0.30, 0.60), (0.45, 0.80))
HIDE = Material((0.02, 0.09), (0.20, 0.65), (0.18, 0.60))
STONE = Material((0.05, 0.60), (0.02, 0.15), (0.40, 0.80))
BLACK_PLASTIC = Material((0.0, 1.0), (0.0, 0.15), (0.10, 0.24))
PALE_PLASTIC = Material((0.0, 1.0), (0.0, 0.20), (0.65, 0.90))
PAINT = Material((0.0, 1.0), (0.25, 0.75), (0.30, 0.80))
FABRIC = Material((0.0, 1.0), (0.05, 0.60), (0.20, 0.80))
METALS = (STEEL, STEEL, BRASS, COPPER)


def colour_of(rng: np.random.Generator, material: Material) -> Colour:
    """One colour of a material."""
    rgb = colorsys.hsv_to_rgb(*(float(rng.uniform(*bounds)) for bounds in material))
    return np.array(rgb, np.float32) * 255


def contrasting(rng: np.random.Generator, colour: Colour, *, low: float = 35.0, high: float = 90.0) -> Colour:
    """A tone of the same family that is darker or lighter by `low`..`high` levels, whichever has the room."""
    step = rng.uniform(low, high)
    darker = colour.mean() > 90 if rng.uniform() < 0.8 else colour.mean() > 150
    shifted = colour * (1 - step / max(float(colour.mean()), 1.0)) if darker else colour + step
    return np.clip(shifted + rng.normal(0, 6, 3), 8, 245).astype(np.float32)


def far_colour(rng: np.random.Generator, colour: Colour, *, apart: float = 60.0) -> Colour:
    """A paint whose distance from `colour` is at least `apart` levels in some channel."""
    for _ in range(20):
        candidate = colour_of(rng, PAINT)
        if np.abs(candidate - colour).max() >= apart:
            return candidate
    return np.where(colour > 127, colour - apart, colour + apart).astype(np.float32)
