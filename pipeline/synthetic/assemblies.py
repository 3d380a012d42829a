"""Kinds of assemblies: products of many repeated or mounted components; and the table of all kinds of parts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.synthetic import parts
from pipeline.synthetic.elements import Element, Outline, disc, rectangle
from pipeline.synthetic.fields import (
    BLACK_PLASTIC,
    COPPER,
    PAINT,
    PALE_PLASTIC,
    STEEL,
    STONE,
    Colour,
    colour_of,
    contrasting,
)
from pipeline.synthetic.parts import Elements


def _track(rng: np.random.Generator, start: tuple[float, float], end: tuple[float, float]) -> Outline:
    """A path of axis-parallel and one diagonal stretch, as a router draws it."""
    (x0, y0), (x1, y1) = start, end
    reach = min(abs(x1 - x0), abs(y1 - y0)) * rng.uniform(0.3, 1)
    knee = (x0 + np.sign(x1 - x0) * reach, y0 + np.sign(y1 - y0) * reach)
    corner = (x1, knee[1]) if rng.uniform() < 0.5 else (knee[0], y1)
    return np.array([start, knee, corner, end])


def _board_device(rng: np.random.Generator, x: float, y: float, cell: float, group: str) -> Elements:
    """One mounted device within a cell: a chip resistor, an integrated circuit or a capacitor."""
    solder = colour_of(rng, STEEL)
    choice = rng.integers(3)
    if choice == 0:
        half = cell * rng.uniform(0.22, 0.34)
        ends = [rectangle(x + sign * half * 0.8, y, half * 0.3, half * 0.55) for sign in (-1, 1)]
        shell = rectangle(x, y, half * 0.7, half * 0.5)
        body = Element((shell,), colour_of(rng, BLACK_PLASTIC), height=0.6, group=group)
        return [*(Element((end,), solder, height=0.5, group=group) for end in ends), body]
    if choice == 1:
        half = cell * rng.uniform(0.25, 0.36)
        legs = [
            Element(
                (rectangle(x + i * half * 0.45, y + sign * half, half * 0.12, half * 0.25),), solder, 0.4, group=group
            )
            for i in (-1.5, -0.5, 0.5, 1.5)
            for sign in (-1, 1)
        ]
        shell = rectangle(x, y, half, half * 0.8)
        return [*legs, Element((shell,), colour_of(rng, BLACK_PLASTIC), height=0.8, group=group)]
    radius = cell * rng.uniform(0.2, 0.32)
    can = Element((disc(x, y, radius),), colour_of(rng, PAINT), height=1.0, dome=0.2, group=group)
    return [can, Element((disc(x, y, radius * 0.75),), solder, height=1.0, group=group)]


def _circuit_board(rng: np.random.Generator) -> Elements:
    half_width, half_height = rng.uniform(0.65, 0.9), rng.uniform(0.5, 0.85)
    mask = colour_of(rng, PAINT) * 0.7
    copper = contrasting(rng, mask, low=20, high=45)
    pad = colour_of(rng, COPPER)
    elements = [Element((rectangle(0, 0, half_width, half_height, corner=0.04),), mask, height=0.3)]
    columns, rows = int(rng.integers(3, 6)), int(rng.integers(3, 5))
    spots = [
        (
            -half_width * 0.8 + 1.6 * half_width * i / (columns - 1),
            -half_height * 0.75 + 1.5 * half_height * j / (rows - 1),
        )
        for i in range(columns)
        for j in range(rows)
    ]
    order = rng.permutation(len(spots))
    for a, b in zip(order, np.roll(order, 1), strict=True):
        path = _track(rng, spots[a], spots[b])
        elements.append(Element((path,), copper, height=0.35, stroke=float(rng.choice([0.015, 0.025, 0.04]))))
    cell = min(1.6 * half_width / columns, 1.6 * half_height / rows)
    for index, (x, y) in enumerate(spots):
        if rng.uniform() < 0.7:
            elements += _board_device(rng, x, y, cell, f"device{index}")
        else:
            radius = cell * 0.16
            elements.append(Element((disc(x, y, radius), disc(x, y, radius * 0.45)), pad, 0.4, group=f"pad{index}"))
    for i, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        x, y = sx * (half_width - 0.07), sy * (half_height - 0.07)
        elements.append(Element((disc(x, y, 0.04),), mask, height=0, cuts=True, group=f"hole{i}"))
    return elements


def _blister(rng: np.random.Generator) -> Elements:
    columns, rows = int(rng.integers(2, 6)), int(rng.integers(2, 5))
    pitch = min(1.6 / columns, 1.6 / rows)
    half_width, half_height = columns * pitch / 2 + 0.05, rows * pitch / 2 + 0.05
    foil, tablet = colour_of(rng, STEEL), parts.plastic(rng, PALE_PLASTIC)
    oblong = bool(rng.uniform() < 0.5)
    elements = [Element((rectangle(0, 0, half_width, half_height, corner=0.06),), foil, height=0.2)]
    for i in range(columns * rows):
        x, y = ((i % columns) - (columns - 1) / 2) * pitch, ((i // columns) - (rows - 1) / 2) * pitch
        pocket, radius = pitch * 0.43, pitch * 0.33
        dent = rectangle(x, y, pocket, pocket * 0.7, corner=pocket) if oblong else disc(x, y, pocket)
        shape = rectangle(x, y, radius, radius * 0.6, corner=radius) if oblong else disc(x, y, radius)
        elements.append(Element((dent,), foil * 0.85, height=0.5, dome=0.5))
        elements.append(Element((shape,), tablet, height=1.0, dome=0.6, group=f"tablet{i}"))
    return elements


def _solar_cell(rng: np.random.Generator) -> Elements:
    half = rng.uniform(0.85, 0.97)
    silicon, busbars, fingers = colour_of(rng, BLACK_PLASTIC), int(rng.integers(2, 6)), int(rng.integers(14, 34))
    silicon = np.clip(silicon + rng.uniform(0, 90), 0, 255).astype(np.float32)
    silver, fine = contrasting(rng, silicon, low=50), contrasting(rng, silicon, low=15, high=35)
    corner = 0.0 if rng.uniform() < 0.5 else 0.16
    elements = [Element((rectangle(0, 0, half, half, corner=corner),), silicon, height=0.5)]
    inner = half - 0.04
    for i in range(fingers):
        y = -inner + 2 * inner * (i + 0.5) / fingers
        path = np.array([(-inner, y), (inner, y)])
        elements.append(Element((path,), fine, height=0.52, stroke=0.008, group=f"finger{i}"))
    for i in range(busbars):
        x = -inner + 2 * inner * (i + 0.5) / busbars
        elements.append(Element((rectangle(x, 0, 0.016, inner),), silver, height=0.6, group=f"busbar{i}"))
    return elements


def _zipper(rng: np.random.Generator) -> Elements:
    teeth, half_width = int(rng.integers(12, 24)), rng.uniform(0.1, 0.16)
    tape_half = half_width + rng.uniform(0.12, 0.3)
    tape, metal = parts.plastic(rng), parts.metal(rng)
    elements = [
        Element((rectangle(0, 0, 0.97, tape_half),), tape, height=0.3),
        Element((rectangle(0, 0, 0.97, half_width * 1.25),), tape * 0.8, height=0.35),
    ]
    pitch = 1.86 / teeth
    for i in range(teeth):
        side = 1 if i % 2 else -1
        outline = rectangle(
            -0.93 + (i + 0.5) * pitch, side * half_width * 0.4, pitch * 0.42, half_width * 0.75, corner=0.02
        )
        elements.append(Element((outline,), metal, height=0.9, dome=0.5, group=f"tooth{i}"))
    return elements


def _flange(rng: np.random.Generator) -> Elements:
    half_width, half_height = rng.uniform(0.55, 0.85), rng.uniform(0.4, 0.75)
    base, screw = parts.metal(rng), parts.metal(rng)
    if rng.uniform() < 0.4:
        base = colour_of(rng, PAINT)
    outline = rectangle(0, 0, half_width, half_height, corner=float(rng.uniform(0.02, 0.25)))
    elements = [Element((outline,), base, height=0.4)]
    cover = min(half_width, half_height) * rng.uniform(0.4, 0.65)
    boss = disc(0, 0, cover) if rng.uniform() < 0.5 else rectangle(0, 0, cover, cover, corner=0.08)
    elements.append(Element((boss,), contrasting(rng, base), height=0.8))
    if rng.uniform() < 0.6:
        elements.append(Element((disc(0, 0, cover * 0.4),), base, height=0, cuts=True))
    radius, inset = rng.uniform(0.06, 0.1), rng.uniform(0.11, 0.15)
    for i in range(6 if half_width > 1.4 * half_height else 4):
        x = (half_width - inset) * (1, -1, 1, -1, 0, 0)[i]
        y = (half_height - inset) * (1, 1, -1, -1, 1, -1)[i]
        elements += parts.screw(x, y, radius, screw, f"screw{i}", float(rng.uniform(0, np.pi)))
    plate = rectangle(0, -half_height + 0.09, 0.14, 0.045)
    return [*elements, Element((plate,), _enamel(rng), height=0.5, group="plate")]


def _enamel(rng: np.random.Generator) -> Colour:
    return colour_of(rng, PAINT if rng.uniform() < 0.5 else STONE)


PARTS: dict[str, Callable[[np.random.Generator], Elements]] = {
    "washer": parts.washer,
    "chip": parts.chip,
    "connector": parts.connector,
    "bottle_cap": parts.bottle_cap,
    "pill": parts.pill,
    "gear": parts.gear,
    "cable_section": parts.cable_section,
    "bolt": parts.bolt,
    "label": parts.label,
    "circuit_board": _circuit_board,
    "blister": _blister,
    "solar_cell": _solar_cell,
    "zipper": _zipper,
    "flange": _flange,
}
