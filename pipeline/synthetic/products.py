"""Products: a texture or a part with its line's fixed parameters, drawn image by image, whole or flawed.

A flawed drawing and the whole one of the same `instance` differ by the flaw alone: pose, phase and grain are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.assemblies import PARTS
from pipeline.synthetic.elements import Canvas, Element, Pose, moved
from pipeline.synthetic.fields import (
    BLACK_PLASTIC,
    FABRIC,
    PALE_PLASTIC,
    STEEL,
    STONE,
    Colour,
    Field,
    blur,
    colour_of,
    contrasting,
    far_colour,
    fractal_noise,
    log_uniform,
    pixel_grid,
    relief_shading,
)
from pipeline.synthetic.surfaces import Frame, Surface, TextureRecipe
from pipeline.synthetic.textures import TEXTURES

STRUCTURAL_KINDS = ("missing_part", "misplaced_part", "wrong_colour")
"""Defects that need to know how the product is built."""


@dataclass(frozen=True)
class Flaw:
    """A structural defect: its kind and the seed of what is random about it."""

    kind: str
    seed: int


@dataclass(frozen=True)
class Drawing:
    """A product in front of the camera: `image` float32 (S, S, 3) 0..255, not clipped; `foreground` bool (S, S)."""

    image: Field
    foreground: NDArray[np.bool_]


class Product(Protocol):
    """What a line makes."""

    @property
    def structural_kinds(self) -> tuple[str, ...]:
        """The structural defects this product can have."""
        ...

    def draw(self, instance: int, size: int, flaw: Flaw | None = None) -> Drawing:
        """The product's image number `instance` (a seed), `size` pixels wide and tall."""
        ...


def build_product(kind: str, rng: np.random.Generator) -> Product:
    """A product of one of `TEXTURES` or `PARTS`, its parameters drawn from `rng`."""
    if kind in TEXTURES:
        return TextureProduct(TEXTURES[kind](rng), rng)
    return PartProduct(PARTS[kind](rng), rng)


def _light(rng: np.random.Generator, strength: float) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * np.pi)
    return float(strength * np.cos(angle)), float(strength * np.sin(angle))


class TextureProduct:
    """A surface that fills the image: colours, angle, phase and light are the line's; see `TextureRecipe`."""

    def __init__(self, recipe: TextureRecipe, rng: np.random.Generator) -> None:
        self._recipe = recipe
        material = recipe.materials[rng.integers(len(recipe.materials))]
        self._bright = colour_of(rng, material)
        other = far_colour(rng, self._bright) if recipe.two_coloured and rng.uniform() < 0.4 else None
        self._dark = contrasting(rng, self._bright, low=45, high=110) if other is None else other
        self._angle = float(rng.choice([0.0, np.pi / 2, np.pi / 4, rng.uniform(0, np.pi)], p=[0.4, 0.25, 0.1, 0.25]))
        self._turn = log_uniform(rng, 0.004, 0.06)
        self._aligned = bool(rng.uniform() < 0.3)
        self._origin = rng.uniform(0, 512, 2)
        self._light = _light(rng, rng.uniform(0.25, 0.7))

    @property
    def structural_kinds(self) -> tuple[str, ...]:
        """All on an ordered surface, none on a disordered one."""
        return STRUCTURAL_KINDS if self._recipe.lattice else ()

    def draw(self, instance: int, size: int, flaw: Flaw | None = None) -> Drawing:
        """See `Product.draw`."""
        rng = np.random.default_rng(instance)
        u, v = self._coordinates(rng, size)
        region: Field | None = None
        if flaw is not None:
            region, (u, v) = self._flawed(flaw, u, v)
        frame = Frame(u, v, rng)
        surface = self._recipe.draw(frame)
        if flaw is not None and flaw.kind == "missing_part" and region is not None:
            surface = self._without(surface, region)
        image = surface.tone[..., None] * (self._bright - self._dark)
        image += self._dark
        if flaw is not None and flaw.kind == "wrong_colour" and region is not None:
            wrong = far_colour(np.random.default_rng(flaw.seed), self._bright) - self._bright
            image += (region * surface.tone).astype(np.float32)[..., None] * wrong
        if self._recipe.relief > 0:
            relief = surface.height * np.float32(self._recipe.relief * frame.scale)
            image *= relief_shading(relief, self._light)[..., None]
        return Drawing(image, np.ones((size, size), np.bool_))

    def _coordinates(self, rng: np.random.Generator, size: int) -> tuple[Field, Field]:
        angle = self._angle + rng.normal(0, self._turn)
        zoom = 256 / size * (1 + rng.normal(0, 0.008))
        phase = self._origin + (rng.normal(0, 2, 2) if self._aligned else rng.uniform(0, 4096, 2))
        x, y = pixel_grid((size, size))
        x, y = (x - size / 2) * np.float32(zoom), (y - size / 2) * np.float32(zoom)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        u, v = x * cosine + y * sine + np.float32(phase[0]), y * cosine - x * sine + np.float32(phase[1])
        if self._recipe.wave > 0:
            u = u + np.float32(self._recipe.wave) * fractal_noise(rng, u.shape, cells=2, octaves=2)
            v = v + np.float32(self._recipe.wave) * fractal_noise(rng, v.shape, cells=2, octaves=2)
        return u, v

    def _flawed(self, flaw: Flaw, u: Field, v: Field) -> tuple[Field, tuple[Field, Field]]:
        """The flawed lattice cells (0..1), and the coordinates with a misplaced unit's shift."""
        lattice = self._recipe.lattice
        assert lattice is not None, "only ordered surfaces have structural flaws"
        rng = np.random.default_rng(flaw.seed)
        row, column = rng.integers(u.shape[0] // 8, u.shape[0] * 7 // 8, 2)
        cells_u, cells_v = (
            max(1, round(log_uniform(rng, 8, 60) / period)) for period in (lattice.period_u, lattice.period_v)
        )
        if rng.uniform() < 0.4:  # a run along one thread or row
            cells_u, cells_v = (1, cells_v) if rng.uniform() < 0.5 else (cells_u, 1)
        i, j = np.floor(u / lattice.period_u), np.floor(v / lattice.period_v)
        in_u = (i >= i[row, column]) & (i < i[row, column] + cells_u)
        in_v = (j >= j[row, column]) & (j < j[row, column] + cells_v)
        region = blur((in_u & in_v).astype(np.float32), 0.6 * max(u.shape) / 256)
        if flaw.kind == "misplaced_part":
            amount = rng.choice([-1, 1], 2) * rng.uniform(0.25, 0.5, 2) * (rng.uniform(size=2) < 0.7)
            amount = amount if amount.any() else np.array([0.4, 0.4])
            u = u + region * np.float32(amount[0] * lattice.period_u)
            v = v + region * np.float32(amount[1] * lattice.period_v)
        return region, (u, v)

    def _without(self, surface: Surface, region: Field) -> Surface:
        lattice = self._recipe.lattice
        assert lattice is not None, "only ordered surfaces have structural flaws"
        tone = surface.tone + region * (lattice.blank_tone - surface.tone)
        return Surface(tone, surface.height + region * (lattice.blank_height - surface.height))


Change = Callable[[Element], Element | None]
_FIXTURES = ((0.015, 0.008), (0.12, 0.03), (np.pi, 0.05))
"""How parts arrive: in a fixture, roughly aligned, thrown on a belt: (turn in radians, shift in part units)."""


class PartProduct:
    """A part on a background: layout, colours, pose range, light and shadow are the line's."""

    def __init__(self, elements: list[Element], rng: np.random.Generator) -> None:
        self._elements = elements
        self._groups = tuple(dict.fromkeys(element.group for element in elements if element.group))
        self._turn, self._shift = _FIXTURES[rng.choice(3, p=[0.45, 0.35, 0.2])]
        self._base_angle = float(rng.choice([0.0, np.pi / 2, rng.uniform(-0.3, 0.3)], p=[0.6, 0.2, 0.2]))
        reach = max(float(np.abs(np.hypot(*outline.T)).max()) for e in elements for outline in e.outlines)
        self._scale = min(1.0, 1.02 / reach) * float(rng.uniform(0.8, 1.0)) if self._turn > 1 else 1.0
        self._relief = log_uniform(rng, 1.5, 8)
        self._grain, self._grain_cells = log_uniform(rng, 0.01, 0.06), log_uniform(rng, 4, 40)
        self._light = _light(rng, rng.uniform(0.3, 0.8))
        self._shadow, self._shadow_reach = rng.uniform(0, 0.5), rng.uniform(0.01, 0.05)
        ground = (BLACK_PLASTIC, PALE_PLASTIC, STEEL, STONE, FABRIC)
        self._background = self._clear_of(elements[0].colour, rng, ground)
        name = str(rng.choice(["cast", "brushed_metal", "carpet", "weave", "wood"], p=[0.5, 0.2, 0.1, 0.1, 0.1]))
        self._belt = TEXTURES[name](rng)
        self._belt_contrast = rng.uniform(0, 40) if rng.uniform() < 0.7 else 0.0

    @staticmethod
    def _clear_of(body: Colour, rng: np.random.Generator, materials: tuple) -> Colour:
        """A background colour that the part's body stands out from."""
        for _ in range(12):
            colour = colour_of(rng, materials[rng.integers(len(materials))])
            if np.abs(colour - body).max() > 45:
                return colour
        return far_colour(rng, body)

    @property
    def structural_kinds(self) -> tuple[str, ...]:
        """All when the part has components, none when it is a single body."""
        return STRUCTURAL_KINDS if self._groups else ()

    def draw(self, instance: int, size: int, flaw: Flaw | None = None) -> Drawing:
        """See `Product.draw`."""
        rng = np.random.default_rng(instance)
        angle = self._base_angle + rng.uniform(-1, 1) * self._turn
        shift = rng.normal(0, self._shift, 2).clip(-2 * self._shift, 2 * self._shift)
        pose = Pose(angle, self._scale * (1 + rng.normal(0, 0.008)), (float(shift[0]), float(shift[1])))
        wobble = {group: rng.normal(0, 0.002, 2) for group in self._groups}
        change = self._change(flaw) if flaw is not None else lambda element: element
        canvas = Canvas(size)
        for element in self._elements:
            offset = wobble.get(element.group, np.zeros(2))
            changed = change(element)
            if changed is not None:
                canvas.draw(changed, replace(pose, shift=tuple(pose.apply(offset[None])[0])))
        image = self._on_background(canvas, rng)
        return Drawing(image, canvas.cover > 0.5)

    def _on_background(self, canvas: Canvas, rng: np.random.Generator) -> Field:
        size = canvas.size
        x, y = pixel_grid((size, size))
        zoom, phase = np.float32(256 / size), rng.uniform(0, 512, 2).astype(np.float32)
        tone = self._belt.draw(Frame(x * zoom + phase[0], y * zoom + phase[1], rng)).tone
        background = self._background + (np.float32(self._belt_contrast) * (tone - 0.5))[..., None]
        background *= self._shadow_of(canvas)[..., None]
        scale = size / 256
        relief = blur(canvas.height * np.float32(self._relief * scale), 0.8 * scale)
        grain = fractal_noise(rng, (size, size), cells=self._grain_cells, octaves=3)
        shading = relief_shading(relief, self._light) * (1 + np.float32(self._grain) * grain)
        lit = canvas.colour * shading[..., None]
        lit -= background
        lit *= canvas.cover[..., None]
        lit += background
        return lit

    def _shadow_of(self, canvas: Canvas) -> Field:
        """Factor 0..1 by which the part's shadow dims the background."""
        reach = self._shadow_reach * canvas.size
        strength = float(np.hypot(*self._light))
        across, down = (round(-component / strength * reach) for component in self._light)
        fallen = np.roll(canvas.cover, (down, across), (0, 1))
        return 1 - np.float32(self._shadow) * blur(fallen, max(reach * 0.5, 0.5))

    def _change(self, flaw: Flaw) -> Change:
        """What the flaw does to each element."""
        rng = np.random.default_rng(flaw.seed)
        group = self._groups[rng.integers(len(self._groups))]
        members = [element for element in self._elements if element.group == group]
        corners = np.concatenate([outline for element in members for outline in element.outlines])
        centre, extent = corners.mean(0), float(np.ptp(corners, 0).max())
        if flaw.kind == "missing_part":
            return lambda element: None if element.group == group else element
        if flaw.kind == "misplaced_part":
            away, angle = rng.uniform(0, 2 * np.pi), float(rng.choice([0, rng.normal(0, 0.5)]))
            distance = max(0.03, extent * rng.uniform(0.2, 0.8))
            shift = (float(distance * np.cos(away)), float(distance * np.sin(away)))
            return lambda element: (
                moved(element, shift=shift, angle=angle, about=centre) if element.group == group else element
            )
        assert flaw.kind == "wrong_colour", flaw.kind
        colour = far_colour(rng, members[0].colour)
        first = next((element for element in members if not element.cuts), None)
        if first is None:  # a hole has no colour: it is plugged
            return lambda element: replace(element, cuts=False, colour=colour) if element.group == group else element
        return lambda element: replace(element, colour=colour) if element is first else element
