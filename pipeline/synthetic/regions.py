"""Where a defect is: opacity stencils of blobs, strokes, cracks, patches and specks.

Every function takes a generator and the wanted `area` in pixels and returns a float32 stencil (h, w), 0..1, tight
around what it covers. Thin shapes take the area as that of the square their length spans.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.fields import Field, blur, fractal_noise, log_uniform, pixel_grid

_FINE = 4
"""Bits of sub-pixel position."""


def blob(rng: np.random.Generator, area: float) -> Field:
    """A rounded to ragged patch, up to three times as long as wide."""
    elongation, ragged, turn = log_uniform(rng, 1, 3), rng.uniform(0.05, 0.45), rng.uniform(0, np.pi)
    radius = float(np.sqrt(area / np.pi))
    side = int(np.ceil(2.8 * radius * np.sqrt(elongation))) + 4
    x, y = pixel_grid((side, side))
    x, y = x - side / 2, y - side / 2
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    distance = np.hypot(along / np.sqrt(elongation), across * np.sqrt(elongation)) / radius
    inside = 1 - distance + ragged * fractal_noise(rng, (side, side), cells=3, octaves=3)
    return _tight(np.clip(0.5 + inside * max(radius, 1.5) / 1.5, 0, 1))


def clouds(rng: np.random.Generator, area: float) -> Field:
    """Several islands of thresholded noise, as Perlin masks of DRAEM (Zavrtanik et al. 2021) are."""
    side = int(np.ceil(np.sqrt(area) * rng.uniform(1.3, 2.0))) + 6
    noise = fractal_noise(rng, (side, side), cells=rng.uniform(1.5, 4), octaves=3)
    x, y = pixel_grid((side, side))
    noise -= 2.5 * np.clip(np.hypot(x / side - 0.5, y / side - 0.5) * 2 - 0.6, 0, None)
    level = float(np.quantile(noise, 1 - min(0.9, area / side**2)))
    return _tight(np.clip(0.5 + (noise - level) * side * 0.1, 0, 1))


def rectangle(rng: np.random.Generator, area: float) -> Field:
    """A turned rectangle of any aspect up to 1 : 3, as CutPaste (Li et al. 2021) cuts."""
    return _turned_box(rng, area, log_uniform(rng, 1, 3))


def scar(rng: np.random.Generator, area: float) -> Field:
    """A long thin turned rectangle, CutPaste's second form."""
    return _turned_box(rng, area * 0.5, log_uniform(rng, 4, 12))


def stroke(rng: np.random.Generator, area: float) -> Field:
    """One to three parallel, slightly bent, tapering and now and then interrupted lines."""
    length = float(np.sqrt(area)) * rng.uniform(1.2, 2.4)
    path = _walk(rng, length, rng.uniform(0, 2 * np.pi), wander=rng.uniform(0, 0.12))
    width = log_uniform(rng, 0.7, max(0.8, 0.06 * length))
    copies = int(rng.choice([1, 2, 3], p=[0.75, 0.15, 0.1]))
    lines = [path + rng.normal(0, 2.5 + 0.05 * length, 2) * (copy > 0) for copy in range(copies)]
    widths = width * (1 - 0.8 * np.abs(np.linspace(-1, 1, len(path))) ** 3)
    stencil = _trace(lines, [widths] * copies)
    if rng.uniform() < 0.5:
        pressure = fractal_noise(rng, _shape(stencil), cells=max(3.0, length / 10), octaves=2)
        stencil = stencil * np.clip(0.8 + 0.5 * pressure, 0, 1)
    return _tight(stencil)


def crack(rng: np.random.Generator, area: float) -> Field:
    """A jagged, branching line that thins towards its ends."""
    length = float(np.sqrt(area)) * rng.uniform(1.2, 2.2)
    width = log_uniform(rng, 0.8, max(0.9, 0.045 * length))
    lines: list[NDArray[np.float64]] = []
    widths: list[NDArray[np.float64]] = []
    pending = [(np.zeros(2), rng.uniform(0, 2 * np.pi), length, width)]
    while pending and len(lines) < 12:
        start, heading, reach, thickness = pending.pop(0)
        path = start + _walk(rng, reach, heading, wander=0.45, step=max(2.0, length / 22))
        lines.append(path)
        widths.append(np.linspace(thickness, 0.5 * thickness, len(path)))
        for _ in range(int(rng.poisson(1.2))):
            fork = int(rng.integers(len(path)))
            side = heading + rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
            if reach > 8:
                pending.append((path[fork], side, reach * rng.uniform(0.2, 0.5), thickness * 0.7))
    return _tight(_trace(lines, widths))


def fibre(rng: np.random.Generator, area: float) -> Field:
    """A thin curled thread of even width."""
    length = float(np.sqrt(area)) * rng.uniform(1.5, 3.5)
    turn, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.12)
    path = _walk(rng, length, turn, wander=0.12, step=max(1.5, length / 40), bend=bend)
    return _tight(_trace([path], [np.full(len(path), log_uniform(rng, 1, max(1.1, 0.05 * length)))]))


def specks(rng: np.random.Generator, area: float) -> Field:
    """A loose cluster of round to angular particles."""
    side = int(np.ceil(np.sqrt(area) * 2)) + 8
    stencil = np.zeros((side, side), np.uint8)
    count = int(rng.integers(2, 14))
    for _ in range(count):
        radius = log_uniform(rng, 0.5, 2.0) * np.sqrt(0.5 * area / count / np.pi)
        x, y = rng.normal(side / 2, side / 6, 2).clip(2, side - 3)
        corners = int(rng.integers(4, 10))
        turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = radius * rng.uniform(0.7, 1.3, corners)
        outline = np.stack([x + radii * np.cos(turn), y + radii * np.sin(turn)], 1)
        cv2.fillPoly(stencil, [np.round(outline * 2**_FINE).astype(np.int32)], 255, cv2.LINE_AA, _FINE)
        cv2.circle(stencil, (round(float(x)), round(float(y))), max(0, round(float(radius) * 0.5)), 255, -1)
    return _tight(stencil.astype(np.float32) / 255)


def feathered(stencil: Field, sigma: float) -> Field:
    """The stencil with edges softened by a Gaussian of `sigma` pixels, grown to hold them."""
    margin = int(np.ceil(2 * sigma)) + 1
    return blur(np.pad(stencil, margin).astype(np.float32), sigma)


def _shape(stencil: Field) -> tuple[int, int]:
    return stencil.shape[0], stencil.shape[1]


def _tight(stencil: Field) -> Field:
    """Without its empty margin. At least one pixel is left, also of an empty stencil."""
    rows, columns = np.flatnonzero(stencil.max(1) > 0.02), np.flatnonzero(stencil.max(0) > 0.02)
    if not len(rows):
        return np.ones((1, 1), np.float32)
    return stencil[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)


def _turned_box(rng: np.random.Generator, area: float, aspect: float) -> Field:
    half = np.sqrt(area) / 2 * np.array([np.sqrt(aspect), 1 / np.sqrt(aspect)])
    half = np.maximum(half, 1.0)
    turn = float(rng.choice([0, rng.uniform(0, np.pi)], p=[0.3, 0.7]))
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half @ axes
    low = corners.min(0) - 2
    width, height = (int(t) for t in np.ceil(corners.max(0) + 2 - low))
    stencil = np.zeros((height, width), np.uint8)
    cv2.fillPoly(stencil, [np.round((corners - low) * 2**_FINE).astype(np.int32)], 255, cv2.LINE_AA, _FINE)
    return _tight(stencil.astype(np.float32) / 255)


def _walk(
    rng: np.random.Generator, length: float, heading: float, *, wander: float, step: float = 4.0, bend: float = 0.0
) -> NDArray[np.float64]:
    """Points (N, 2) of a path from the origin whose heading drifts by `bend` and at random by `wander` a step."""
    count = max(2, int(length / step))
    headings = heading + np.cumsum(bend + rng.normal(0, wander, count))
    steps = np.stack([np.cos(headings), np.sin(headings)], 1) * (length / count)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])


def _trace(lines: list[NDArray[np.float64]], widths: list[NDArray[np.float64]]) -> Field:
    """The paths drawn with their widths in pixels; below one pixel, width becomes opacity."""
    points = np.concatenate(lines)
    margin = float(max(w.max() for w in widths)) + 3
    low = points.min(0) - margin
    width, height = (int(t) for t in np.ceil(points.max(0) + margin - low))
    stencil = np.zeros((height, width), np.uint8)
    for path, thickness in zip(lines, widths, strict=True):
        fixed = np.round((path - low) * 2**_FINE).astype(np.int32)
        for start, end, wide in zip(fixed[:-1], fixed[1:], thickness[1:], strict=True):
            ends = np.stack([start, end])
            cv2.polylines(stencil, [ends], False, min(255.0, 255 * float(wide)), max(1, round(float(wide))), 16, _FINE)
    return stencil.astype(np.float32) / 255
