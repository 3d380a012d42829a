"""What a defect does to the surface: each painter changes a patch of an image where its stencil says so.

Shape letters: h x w the patch. A patch is float (h, w, 3), 0..255; a stencil is float (h, w), 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic import regions
from pipeline.synthetic.fields import (
    FABRIC,
    PAINT,
    Colour,
    Field,
    blur,
    colour_of,
    far_colour,
    fractal_noise,
    log_uniform,
    pixel_grid,
    relief_shading,
)
from pipeline.synthetic.surfaces import Frame
from pipeline.synthetic.textures import TEXTURES

Patch = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Brush:
    """What a painter works with.

    Args:
        rng: the source of all that is random.
        image: the whole image (H, W, 3), to take material from.
        donor: another image to take material from, or None.
        unit: pixels that count as one, in an image of 256: detail scales with the image.
    """

    rng: np.random.Generator
    image: NDArray[np.uint8] | Patch
    donor: NDArray[np.uint8] | None
    unit: float

    def contrast(self) -> float:
        """Levels by which a defect differs: from hardly visible to glaring."""
        return log_uniform(self.rng, 12, 110)


Painter = Callable[[Patch, Field, Brush], Patch]


def _blend(patch: Patch, stencil: Field, target: Patch | Colour) -> Patch:
    return patch + stencil[..., None].astype(np.float32) * (target - patch)


def _mean_colour(patch: Patch, stencil: Field) -> Colour:
    return np.average(patch.reshape(-1, 3), axis=0, weights=stencil.ravel() + 1e-3).astype(np.float32)


def _tone_apart(patch: Patch, stencil: Field, brush: Brush, step: float) -> Colour:
    """A tint `step` levels darker or lighter than what is there, towards where there is room."""
    here = _mean_colour(patch, stencil)
    sign = 1.0 if brush.rng.uniform() < 1 - here.mean() / 255 else -1.0
    return np.clip(here + sign * step + brush.rng.normal(0, 0.15 * step, 3), 2, 253).astype(np.float32)


def _shape(stencil: Field) -> tuple[int, int]:
    return stencil.shape[0], stencil.shape[1]


def scratch(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """A bright or dark line, at times with a shaded flank."""
    colour = _tone_apart(patch, stencil, brush, 1.2 * brush.contrast())
    painted = _blend(patch, stencil, colour)
    if brush.rng.uniform() < 0.4:
        painted = painted * relief_shading(stencil * np.float32(-2 * brush.unit), (0.5, 0.4))[..., None]
    return painted


def crack(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """A dark line with, at times, a bright edge on one side."""
    here = _mean_colour(patch, stencil)
    darker = np.maximum(here - 1.3 * brush.contrast(), here * 0.1)
    target = darker if here.mean() > 45 else np.minimum(here + 1.3 * brush.contrast(), 250)
    painted = _blend(patch, stencil, target.astype(np.float32))
    if brush.rng.uniform() < 0.4:
        edge = np.roll(stencil, (1, 1), (0, 1)) * (1 - stencil)
        painted = _blend(painted, 0.5 * edge, np.minimum(here + 60, 255).astype(np.float32))
    return painted


def stain(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """A tinted spot that lets the surface through, at times with a darker rim as dried liquids have."""
    step = brush.contrast()
    tint = _tone_apart(patch, stencil, brush, step) - _mean_colour(patch, stencil)
    profile = stencil * np.clip(0.85 + 0.2 * fractal_noise(brush.rng, _shape(stencil), cells=4, octaves=3), 0.3, 1.2)
    if brush.rng.uniform() < 0.4:
        rim = stencil - blur(stencil.astype(np.float32), 2 * brush.unit)
        profile = profile * 0.5 + np.clip(rim * 2, 0, 1)
    return patch + profile[..., None].astype(np.float32) * tint


def smudge(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """Wiped in one direction and veiled."""
    length = max(3, int(log_uniform(brush.rng, 5, 22) * brush.unit)) | 1
    kernel = np.zeros((length, length), np.float32)
    turn, middle = brush.rng.uniform(0, np.pi), length // 2
    step = np.array([np.cos(turn), np.sin(turn)]) * middle
    start, end = (tuple(int(t) for t in np.round(middle + sign * step)) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0)
    wiped = cv2.filter2D(patch, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    veil = _tone_apart(patch, stencil, brush, brush.contrast())
    return _blend(patch, stencil, (wiped + brush.rng.uniform(0.05, 0.4) * (veil - wiped)).astype(np.float32))


def defocus(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """Locally out of focus."""
    return _blend(patch, stencil, np.asarray(blur(patch, log_uniform(brush.rng, 1.5, 6) * brush.unit), np.float32))


def erase(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """The surface's structure is gone: what is left is a smooth fill from around, with its fine grain."""
    outside = (1 - stencil) ** 2 + 1e-3
    reach = max(_shape(stencil)) / 3
    fill = blur(patch * outside[..., None], reach) / blur(outside.astype(np.float32), reach)[..., None]
    grain = brush.rng.normal(0, np.std(patch - blur(patch, 1.0)) * 0.6, _shape(stencil)).astype(np.float32)
    return _blend(patch, stencil, (fill + grain[..., None]).astype(np.float32))


def warp(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """The surface is bent: pushed by a smooth field, or twisted."""
    shape, rng = _shape(stencil), brush.rng
    x, y = pixel_grid(shape)
    soft = blur(stencil.astype(np.float32), 2 * brush.unit)
    if rng.uniform() < 0.6:
        push = log_uniform(rng, 3, 12) * brush.unit
        shift_x, shift_y = (push * fractal_noise(rng, shape, cells=2, octaves=2) * soft for _ in "xy")
    else:
        angle = rng.choice([-1, 1]) * rng.uniform(0.4, 1.6) * soft
        away_x, away_y = x - shape[1] / 2, y - shape[0] / 2
        shift_x = away_x * np.cos(angle) - away_y * np.sin(angle) - away_x
        shift_y = away_x * np.sin(angle) + away_y * np.cos(angle) - away_y
    map_x, map_y = (x + shift_x).astype(np.float32), (y + shift_y).astype(np.float32)
    bent = cv2.remap(patch, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(bent, np.float32)


def discolour(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """Another colour with the surface's own light and shade."""
    here = _mean_colour(patch, stencil)
    other = far_colour(brush.rng, here, apart=25)
    shade = patch.mean(2, keepdims=True) / max(float(here.mean()), 8.0)
    return _blend(patch, stencil * np.float32(log_uniform(brush.rng, 0.15, 0.9)), other * np.clip(shade, 0.2, 2.5))


def dent(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """A dimple or bump: shading from a direction, with no colour of its own."""
    radius = float(np.sqrt((stencil > 0.5).sum() / np.pi))
    depth = radius * log_uniform(brush.rng, 0.1, 1.0) * brush.rng.choice([-1, 1])
    rounded = blur(stencil.astype(np.float32), max(1.0, 0.3 * radius))
    turn = brush.rng.uniform(0, 2 * np.pi)
    light = (1.2 * float(np.cos(turn)), 1.2 * float(np.sin(turn)))
    shading = relief_shading(np.float32(depth) * rounded, light)
    return (patch * shading[..., None] + 12 * (shading[..., None] - 1)).astype(np.float32)


def hole(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """A dark opening with a lit rim."""
    here = _mean_colour(patch, stencil)
    inside = (here * brush.rng.uniform(0.05, 0.5)) if here.mean() > 40 else here + brush.rng.uniform(40, 120)
    painted = _blend(patch, stencil, inside.astype(np.float32))
    rim = blur(stencil.astype(np.float32), 1.2 * brush.unit)
    return painted * relief_shading(-3 * brush.unit * rim, (0.6, 0.5))[..., None]


def contamination(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """A foreign body lying on the surface: its own colour and grain, and a shadow."""
    reach = max(1, round(1.5 * brush.unit))
    shadow = blur(np.roll(stencil, (reach, reach), (0, 1)).astype(np.float32), reach) * 0.4
    lying = patch * (1 - shadow * (1 - stencil))[..., None]
    here = _mean_colour(patch, stencil)
    body = far_colour(brush.rng, here) if brush.rng.uniform() < 0.5 else _tone_apart(patch, stencil, brush, 70)
    grain = 1 + 0.12 * fractal_noise(brush.rng, _shape(stencil), cells=6, octaves=3)
    relief = relief_shading(2 * brush.unit * blur(stencil.astype(np.float32), brush.unit), (0.4, 0.4))
    return _blend(lying.astype(np.float32), stencil, (body * (grain * relief)[..., None]).astype(np.float32))


def cut_paste(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """Material from elsewhere in the image (or from the donor), turned and slightly changed in tone."""
    height, width = _shape(stencil)
    source = brush.donor if brush.donor is not None and brush.rng.uniform() < 0.3 else brush.image
    rows, columns = source.shape[:2]
    if rows < height or columns < width:
        source = cv2.resize(source, (max(columns, width), max(rows, height)), interpolation=cv2.INTER_AREA)
        rows, columns = source.shape[:2]
    y, x = brush.rng.integers(rows - height + 1), brush.rng.integers(columns - width + 1)
    cut = np.asarray(source[y : y + height, x : x + width], np.float32)
    turned = {0: cut, 1: cut[::-1], 2: cut[:, ::-1], 3: cut[::-1, ::-1]}[int(brush.rng.integers(4))]
    tone = brush.rng.normal(1, 0.12) + brush.rng.normal(0, 0.04, 3)
    return _blend(patch, stencil, (turned * tone + brush.rng.normal(0, 6)).astype(np.float32))


def perlin_blend(patch: Patch, stencil: Field, brush: Brush) -> Patch:
    """A foreign texture blended in, as DRAEM does: from the donor, or a generated one."""
    height, width = _shape(stencil)
    rng = brush.rng
    if brush.donor is not None and rng.uniform() < 0.5:
        foreign = np.asarray(cv2.resize(brush.donor, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    else:
        recipe = TEXTURES[list(TEXTURES)[rng.integers(len(TEXTURES))]](rng)
        x, y = pixel_grid((height, width))
        zoom, phase = np.float32(1 / brush.unit), rng.uniform(0, 4096, 2).astype(np.float32)
        tone = recipe.draw(Frame(x * zoom + phase[0], y * zoom + phase[1], rng)).tone[..., None]
        first, second = colour_of(rng, PAINT), colour_of(rng, FABRIC)
        foreign = first + tone * (second - first)
    opacity = np.float32(log_uniform(rng, 0.15, 1.0))
    return _blend(patch, stencil * opacity, np.asarray(foreign, np.float32))


@dataclass(frozen=True)
class DefectRecipe:
    """A kind of defect: the shapes it takes, what it does, how soft its edge is (256ths of the image, log-uniform).

    `on_product` keeps it within the foreground; a foreign body may lie across the edge. `spread` is how far it reaches
    beyond its stencil, as a fraction of the stencil's longer side.
    """

    shapes: tuple[Callable[[np.random.Generator, float], Field], ...]
    paint: Painter
    feather: tuple[float, float]
    on_product: bool = True
    spread: float = 0.0


DEFECTS: dict[str, DefectRecipe] = {
    "scratch": DefectRecipe((regions.stroke,), scratch, (0.4, 1.0)),
    "crack": DefectRecipe((regions.crack,), crack, (0.3, 0.7)),
    "stain": DefectRecipe((regions.blob, regions.clouds), stain, (0.7, 5.0)),
    "smudge": DefectRecipe((regions.blob,), smudge, (2.0, 6.0)),
    "blur": DefectRecipe((regions.blob,), defocus, (2.0, 5.0)),
    "erase": DefectRecipe((regions.blob, regions.rectangle), erase, (0.7, 3.0)),
    "warp": DefectRecipe((regions.blob,), warp, (1.0, 3.0)),
    "discolouration": DefectRecipe((regions.blob, regions.clouds), discolour, (0.7, 4.0)),
    "dent": DefectRecipe((regions.blob,), dent, (1.0, 3.0), spread=0.4),
    "hole": DefectRecipe((regions.blob,), hole, (0.4, 1.0)),
    "contamination": DefectRecipe((regions.fibre, regions.specks, regions.blob), contamination, (0.4, 0.8), False),
    "cut_paste": DefectRecipe((regions.rectangle,), cut_paste, (0.3, 1.0)),
    "scar": DefectRecipe((regions.scar,), cut_paste, (0.3, 0.8)),
    "perlin_blend": DefectRecipe((regions.clouds,), perlin_blend, (0.5, 1.5)),
}
