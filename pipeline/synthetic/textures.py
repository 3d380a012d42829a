"""Kinds of surfaces: each recipe draws its parameters once per line and its surface once per image.

See `pipeline.synthetic.surfaces` for coordinates and units.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.fields import (
    FABRIC,
    HIDE,
    METALS,
    PAINT,
    STEEL,
    STONE,
    TIMBER,
    Field,
    blur,
    log_uniform,
    to_unit,
    voronoi_cells,
    white_noise,
)
from pipeline.synthetic.surfaces import Frame, Lattice, Surface, TextureRecipe


def _cell(coordinate: Field, period: float) -> tuple[NDArray[np.int32], Field]:
    """Index of the lattice cell, and the place in it, -1..1."""
    position = coordinate / np.float32(period)
    index = np.floor(position)
    return index.astype(np.int32), (2 * (position - index) - 1).astype(np.float32)


def _soft(signed: Field, width: float) -> Field:
    """A step from 0 to 1 at zero, `width` wide."""
    return np.clip(0.5 + signed / np.float32(width), 0, 1)


def _cast(rng: np.random.Generator) -> TextureRecipe:
    cells, persistence = rng.uniform(4, 24), rng.uniform(0.5, 0.8)

    def draw(frame: Frame) -> Surface:
        noise = to_unit(frame.noise(cells, 5, persistence))
        return Surface(noise, noise)

    return TextureRecipe(draw, (STONE, STEEL, PAINT), relief=rng.uniform(1, 6))


def _weave(rng: np.random.Generator) -> TextureRecipe:
    period, twill, gap = log_uniform(rng, 6, 22), int(rng.integers(2, 4)), rng.uniform(0.05, 0.3)

    def draw(frame: Frame) -> Surface:
        (i, a), (j, b) = _cell(frame.u, period), _cell(frame.v, period)
        over = (i + j) % twill == 0
        across, along = np.where(over, a, b), np.where(over, b, a)
        thread = np.sqrt(np.clip(1 - across**2, 0, 1)) * (1 - 0.45 * along**2)
        thread *= _soft(1 - gap - np.abs(across), 0.2)
        fibre = np.where(over, frame.grain(14, 2, turned=True), frame.grain(14, 2))
        tone = np.where(over, 0.75, 0.3) * (0.35 + 0.65 * thread) + 0.05 * fibre
        return Surface(tone, thread)

    lattice = Lattice(period, period, 0.02, 0.0)
    return TextureRecipe(draw, (FABRIC, STEEL), rng.uniform(1, 3), lattice, rng.uniform(0, 4), two_coloured=True)


def _brushed(rng: np.random.Generator) -> TextureRecipe:
    along, across = rng.uniform(60, 250), log_uniform(rng, 0.8, 3)

    def draw(frame: Frame) -> Surface:
        tone = to_unit(0.8 * frame.grain(along, across) + 0.5 * frame.grain(along * 4, across * 6), 0.2)
        return Surface(tone, tone)

    return TextureRecipe(draw, METALS, relief=0.0)


def _wood(rng: np.random.Generator) -> TextureRecipe:
    period, swirl, fibre = log_uniform(rng, 9, 32), rng.uniform(0.3, 1.4), rng.uniform(0.08, 0.2)

    def draw(frame: Frame) -> Surface:
        depth = frame.v / np.float32(period) + swirl * frame.grain(400, 60) + 0.1 * frame.grain(120, 12)
        ring = depth - np.floor(depth)
        late = ring**3 * (1 - _soft(ring - 0.93, 0.14))
        tone = 0.25 + 0.6 * late + fibre * frame.grain(50, 1.6)
        return Surface(tone, 1 - tone)

    return TextureRecipe(draw, (TIMBER, TIMBER, STONE), relief=rng.uniform(0, 0.8))


def _leather(rng: np.random.Generator) -> TextureRecipe:
    count, crease = int(log_uniform(rng, 250, 2200)), rng.uniform(0.3, 0.8)

    def draw(frame: Frame) -> Surface:
        cells = voronoi_cells(frame.rng, frame.shape, count)
        radius = max(frame.shape) / np.sqrt(count)
        pebble = np.clip(1 - (cells.distance / np.float32(0.75 * radius)) ** 2, 0, 1)
        pebble = blur(pebble, 0.8 * frame.scale)
        tone = 1 - crease * (1 - pebble) + 0.06 * frame.noise(10)
        return Surface(tone, pebble)

    return TextureRecipe(draw, (HIDE, HIDE, FABRIC), relief=rng.uniform(1, 3.5))


def _mesh(rng: np.random.Generator) -> TextureRecipe:
    period, wire, aspect = log_uniform(rng, 11, 32), rng.uniform(0.12, 0.32), float(rng.choice([1.0, 1.0, 1.6]))

    def draw(frame: Frame) -> Surface:
        (_, a), (_, b) = _cell(frame.u, period), _cell(frame.v, period * aspect)
        edge = 2.0 / period
        bars = [np.clip(1 - (np.abs(x) / wire) ** 2, 0, 1) for x in (a, b / aspect)]
        cover = np.maximum(*(_soft(wire - np.abs(x), edge) for x in (a, b / np.float32(aspect))))
        tone = cover * (0.8 + 0.08 * frame.noise(40, 2)) + 0.05 * frame.noise(5)
        return Surface(tone, np.maximum(*bars))

    lattice = Lattice(period, period * aspect, 0.02, 0.0)
    return TextureRecipe(
        draw, (STEEL, *METALS, PAINT), rng.uniform(1, 3), lattice, rng.uniform(0, 3), two_coloured=True
    )


def _tiles(rng: np.random.Generator) -> TextureRecipe:
    period, aspect, grout = log_uniform(rng, 28, 80), float(rng.choice([1.0, 1.0, 2.0])), rng.uniform(0.03, 0.08)
    bond, shades, veins = bool(rng.uniform() < 0.5), rng.uniform(0.0, 0.12), rng.uniform(0.05, 0.25)

    def draw(frame: Frame) -> Surface:
        j, b = _cell(frame.v, period)
        i, a = _cell(frame.u + np.float32(0.5 * period * aspect) * (j % 2) * bond, period * aspect)
        shade = frame.rng.uniform(-1, 1, (32, 32)).astype(np.float32)[j % 32, i % 32]
        inside = np.minimum(_soft(1 - grout / aspect - np.abs(a), 0.06 / aspect), _soft(1 - grout - np.abs(b), 0.06))
        body = np.clip(0.65 + shades * shade + veins * 0.5 * frame.noise(8, 5, 0.7), 0, 1)
        return Surface(inside * body, inside)

    lattice = Lattice(period * aspect, period, 0.12, 0.0)
    return TextureRecipe(draw, (STONE, STONE, PAINT, HIDE), rng.uniform(0.8, 2.5), lattice)


def _perforated(rng: np.random.Generator) -> TextureRecipe:
    period, radius, staggered = log_uniform(rng, 13, 36), rng.uniform(0.4, 0.75), bool(rng.uniform() < 0.5)

    def draw(frame: Frame) -> Surface:
        j, b = _cell(frame.v, period)
        _, a = _cell(frame.u + np.float32(0.5 * period) * (j % 2) * staggered, period)
        sheet = _soft(np.sqrt(a**2 + b**2) - np.float32(radius), 3.0 / period)
        tone = sheet * (0.8 + 0.05 * frame.grain(80, 2))
        return Surface(tone, sheet)

    return TextureRecipe(draw, (*METALS, HIDE, PAINT), rng.uniform(1, 3), Lattice(period, period, 0.8, 1.0))


def _carpet(rng: np.random.Generator) -> TextureRecipe:
    tuft, stripe, depth = rng.uniform(1.0, 2.4), log_uniform(rng, 10, 50), rng.uniform(0, 0.35)

    def draw(frame: Frame) -> Surface:
        pile = blur(white_noise(frame.rng, frame.shape), tuft * frame.scale)
        pile = to_unit(pile * np.float32(3.5 * tuft * frame.scale), 0.25)
        bands = 0.5 + 0.5 * np.sin(frame.v * np.float32(2 * np.pi / stripe) + 0.3 * frame.noise(6, 2))
        return Surface(pile * (1 - depth) + depth * bands, pile)

    return TextureRecipe(draw, (FABRIC,), relief=rng.uniform(1, 3), wave=rng.uniform(0, 3), two_coloured=True)


def _granular(rng: np.random.Generator) -> TextureRecipe:
    count, variety, rounded = int(log_uniform(rng, 200, 3000)), rng.uniform(0.15, 0.45), rng.uniform(0, 1)

    def draw(frame: Frame) -> Surface:
        cells = voronoi_cells(frame.rng, frame.shape, count)
        shade = frame.rng.standard_normal(cells.count, dtype=np.float32)[cells.label]
        radius = max(frame.shape) / np.sqrt(count)
        grain = np.clip(1 - (cells.distance / np.float32(radius)) ** 2, 0, 1)
        tone = 0.5 + variety * shade * 0.7 - 0.35 * rounded * (1 - grain)
        tone = blur(tone.astype(np.float32), 0.7 * frame.scale)
        return Surface(tone, blur(grain, 0.8 * frame.scale))

    return TextureRecipe(draw, (STONE, STONE, FABRIC, TIMBER), relief=rng.uniform(0, 3))


def _stripes(rng: np.random.Generator) -> TextureRecipe:
    period, duty, sharp = log_uniform(rng, 8, 48), rng.uniform(-0.5, 0.5), log_uniform(rng, 0.15, 1.5)

    def draw(frame: Frame) -> Surface:
        _, a = _cell(frame.u, period)
        rib = _soft(np.cos(a * np.float32(np.pi)) - np.float32(duty), 2 * sharp)
        tone = 0.15 + 0.7 * rib + 0.06 * frame.grain(30, 30) + 0.04 * frame.noise(40, 2)
        return Surface(tone, rib)

    lattice = Lattice(period, period * 3, 0.15, 0.0)
    return TextureRecipe(draw, (PAINT, STEEL, FABRIC), rng.uniform(0, 4), lattice, rng.uniform(0, 2), two_coloured=True)


def _knit(rng: np.random.Generator) -> TextureRecipe:
    period, slant, loft = log_uniform(rng, 9, 22), rng.uniform(0.5, 1.0), rng.uniform(0.7, 0.95)

    def draw(frame: Frame) -> Surface:
        _, a = _cell(frame.u, period)
        _, b = _cell(frame.v + np.abs(a) * np.float32(slant * period), period)
        half = np.abs(np.abs(a) - 0.5) * 2
        stitch = np.clip(1 - (half / loft) ** 2, 0, 1) * np.clip(1 - (b / 0.95) ** 4, 0, 1)
        tone = 0.15 + 0.7 * stitch + 0.1 * frame.noise(60, 2)
        return Surface(tone, stitch)

    return TextureRecipe(draw, (FABRIC,), rng.uniform(1.5, 3.5), Lattice(period, period, 0.05, 0.0), rng.uniform(0, 4))


def _marble(rng: np.random.Generator) -> TextureRecipe:
    cells, sharp, cloud = rng.uniform(2, 5), rng.uniform(2, 6), rng.uniform(0.05, 0.2)

    def draw(frame: Frame) -> Surface:
        vein = np.clip(1 - sharp * np.abs(frame.noise(cells, 5, 0.6)) * 0.5, 0, 1) ** 2
        tone = 0.8 + cloud * frame.noise(3, 3) - 0.6 * vein
        return Surface(tone, np.ones_like(tone, np.float32))

    return TextureRecipe(draw, (STONE, STONE, PAINT), relief=0.0)


def _fibre_mat(rng: np.random.Generator) -> TextureRecipe:
    count, length, spread = int(rng.uniform(150, 450)), rng.uniform(20, 120), rng.uniform(0.1, np.pi)

    def draw(frame: Frame) -> Surface:
        height, width = frame.shape
        middle = frame.rng.uniform(-0.1, 1.1, (count, 2)) * (width, height)
        angle = rng_angle + frame.rng.uniform(-spread, spread, count) / 2
        step = np.stack([np.cos(angle), np.sin(angle)], 1) * (length * frame.scale / 2)
        ends = (np.stack([middle - step, middle + step], 1) * 16).astype(np.int32)
        shade = frame.rng.uniform(60, 255, count)
        mat = np.full(frame.shape, 50, np.uint8)
        for line, level in zip(ends, shade, strict=True):
            cv2.polylines(mat, [line], False, float(level), max(1, round(frame.scale)), cv2.LINE_AA, 4)
        tone = blur(mat.astype(np.float32) / 255, 0.6 * frame.scale)
        return Surface(tone, tone)

    rng_angle = rng.uniform(0, np.pi)
    return TextureRecipe(draw, (FABRIC, TIMBER, STONE), relief=rng.uniform(0, 3))


TEXTURES: dict[str, Callable[[np.random.Generator], TextureRecipe]] = {
    "cast": _cast,
    "weave": _weave,
    "brushed_metal": _brushed,
    "wood": _wood,
    "leather": _leather,
    "mesh": _mesh,
    "tiles": _tiles,
    "perforated": _perforated,
    "carpet": _carpet,
    "granular": _granular,
    "stripes": _stripes,
    "knit": _knit,
    "marble": _marble,
    "fibre_mat": _fibre_mat,
}
