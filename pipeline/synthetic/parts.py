"""Kinds of parts: each recipe draws one line's product as a list of elements (first the body, then what sits on it).

Components carry a `group`: a pin, a screw, a letter. A defective part may lack one, or have it in the wrong place.
"""

from __future__ import annotations

import string

import numpy as np

from pipeline.synthetic.elements import Element, disc, polar, rectangle, text, text_width
from pipeline.synthetic.fields import (
    BLACK_PLASTIC,
    COPPER,
    METALS,
    PAINT,
    PALE_PLASTIC,
    STEEL,
    Colour,
    Material,
    colour_of,
    contrasting,
)

Elements = list[Element]
_SERIAL = string.ascii_uppercase + string.digits


def metal(rng: np.random.Generator) -> Colour:
    """A colour of one of the metals."""
    return colour_of(rng, METALS[rng.integers(len(METALS))])


def plastic(rng: np.random.Generator, *others: Material) -> Colour:
    """A colour of some plastic, or of one of `others`."""
    choices = (BLACK_PLASTIC, PALE_PLASTIC, PAINT, *others)
    return colour_of(rng, choices[rng.integers(len(choices))])


def _serial(rng: np.random.Generator, length: int) -> str:
    return "".join(_SERIAL[i] for i in rng.integers(len(_SERIAL), size=length))


def _letters(content: str, x: float, y: float, height: float, colour: Colour, prefix: str, top: float) -> Elements:
    return [
        Element(outlines, colour, height=top, group=f"{prefix}{index}")
        for index, outlines in enumerate(text(content, x, y, height))
    ]


def _around(count: int, radius: float, start: float = 0.0) -> list[tuple[float, float]]:
    turn = start + 2 * np.pi * np.arange(count) / count
    return [(float(radius * np.cos(t)), float(radius * np.sin(t))) for t in turn]


def screw(x: float, y: float, radius: float, colour: Colour, group: str, angle: float) -> Elements:
    """A slotted screw head."""
    slot = np.array([(np.cos(angle), np.sin(angle)), (-np.cos(angle), -np.sin(angle))]) * radius * 0.7 + (x, y)
    return [
        Element((disc(x, y, radius),), colour, height=0.9, dome=0.7, group=group),
        Element((slot,), colour * 0.35, height=0.7, stroke=radius * 0.3, group=group),
    ]


def washer(rng: np.random.Generator) -> Elements:
    """A washer, sometimes grooved or drilled."""
    radius, bore, colour = rng.uniform(0.45, 0.8), rng.uniform(0.3, 0.65), metal(rng)
    body = [Element((disc(0, 0, radius), disc(0, 0, radius * bore)), colour, height=0.6)]
    if rng.uniform() < 0.6:
        middle = radius * (1 + bore) / 2
        groove = (disc(0, 0, middle * 1.04), disc(0, 0, middle * 0.96))
        body.append(Element(groove, colour * 0.75, height=0.4))
    if bore < 0.5 and rng.uniform() < 0.6:
        hole = radius * rng.uniform(0.05, 0.1)
        for i, (x, y) in enumerate(_around(int(rng.integers(3, 9)), radius * (1 + bore) / 2)):
            body.append(Element((disc(x, y, hole),), colour, height=0, cuts=True, group=f"hole{i}"))
    return body


def _pin(x: float, y: float, half_width: float, half_length: float, colour: Colour, group: str) -> Elements:
    return [Element((rectangle(x, y, half_width, half_length),), colour, height=0.35, dome=0.3, group=group)]


def chip(rng: np.random.Generator) -> Elements:
    """An integrated circuit with two rows of pins and a printed code."""
    half_width, half_height = rng.uniform(0.4, 0.7), rng.uniform(0.2, 0.5)
    body_colour, pin_colour = colour_of(rng, BLACK_PLASTIC), colour_of(rng, STEEL)
    count, length = int(rng.integers(4, 11)), rng.uniform(0.07, 0.16)
    pitch = 2 * half_width / count
    elements: Elements = []
    for i in range(count):
        x = -half_width + (i + 0.5) * pitch
        for side, sign in (("a", -1), ("b", 1)):
            y = sign * (half_height + length / 2)
            elements += _pin(x, y, pitch * 0.24, length / 2 + 0.02, pin_colour, f"pin_{side}{i}")
    elements.append(Element((rectangle(0, 0, half_width, half_height, corner=0.03),), body_colour, height=0.9))
    mark = body_colour + rng.uniform(60, 140)
    elements.append(Element((disc(-half_width + 0.1, half_height - 0.1, 0.04),), mark * 0.7, 0.8, group="dot"))
    for row in range(int(rng.integers(1, 3))):
        word, size = _serial(rng, int(rng.integers(3, 7))), min(0.16, half_height * 0.4)
        y = (row - 0.3) * size * 1.5
        elements += _letters(
            word, -min(text_width(word, size), 1.7 * half_width) / 2, y, size, mark, f"text{row}_", 0.9
        )
    return elements


def connector(rng: np.random.Generator) -> Elements:
    """A connector shell with rows of contacts."""
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(3, 9))
    pitch = min(1.4 / columns, 0.3)
    half_width, half_height = columns * pitch / 2 + 0.08, rows * pitch / 2 + 0.08
    shell, gold = plastic(rng), metal(rng)
    inside = contrasting(rng, shell)
    elements = [
        Element((rectangle(0, 0, half_width + 0.06, half_height + 0.06, corner=0.05),), shell, height=1.0),
        Element((rectangle(0, 0, half_width, half_height, corner=0.02),), inside, height=0.3),
        Element((rectangle(0, half_height + 0.03, half_width * 0.25, 0.05),), shell * 0.8, height=0.8, group="key"),
    ]
    shape = rng.uniform(0.2, 0.34) * pitch
    for i in range(rows * columns):
        x, y = ((i % columns) - (columns - 1) / 2) * pitch, ((i // columns) - (rows - 1) / 2) * pitch
        outline = disc(x, y, shape) if columns % 2 else rectangle(x, y, shape, shape)
        elements.append(Element((outline,), gold, height=0.9, dome=0.8, group=f"pin{i}"))
    return elements


def bottle_cap(rng: np.random.Generator) -> Elements:
    """A fluted cap with a printed code."""
    radius, flutes, colour = rng.uniform(0.5, 0.8), int(rng.integers(18, 40)), plastic(rng, *METALS)
    edge = radius * (1 + 0.035 * np.cos(flutes * np.linspace(0, 2 * np.pi, 360, endpoint=False)))
    printed = contrasting(rng, colour, low=50)
    elements = [
        Element((polar(edge),), colour * 0.85, height=0.5, dome=0.4),
        Element((disc(0, 0, radius * 0.82),), colour, height=0.9, dome=0.15),
    ]
    if rng.uniform() < 0.6:
        ring = (disc(0, 0, radius * 0.72), disc(0, 0, radius * 0.66))
        elements.append(Element(ring, printed, height=0.9))
    size = radius * 0.34
    word = _serial(rng, 3)
    return elements + _letters(word, -text_width(word, size) / 2, size / 2, size, printed, "text", 0.9)


def pill(rng: np.random.Generator) -> Elements:
    """A tablet or two-coloured capsule."""
    length, ratio = rng.uniform(0.5, 0.8), rng.uniform(0.35, 0.6)
    left, right = colour_of(rng, PALE_PLASTIC), plastic(rng, PALE_PLASTIC)
    outline = rectangle(0, 0, length, length * ratio, corner=length * ratio)
    elements = [Element((outline,), left, height=1.0, dome=0.9)]
    if rng.uniform() < 0.5:
        half = outline.copy()
        half[:, 0] = np.maximum(half[:, 0], 0.02)
        elements.append(Element((half,), right, height=1.0, dome=0.9))
        elements.append(
            Element((np.array([(0.02, -1), (0.02, 1)]) * (1, length * ratio),), right * 0.7, 0.9, stroke=0.02)
        )
    size = length * ratio * 0.55
    word = _serial(rng, 2)
    ink = contrasting(rng, left, low=60)
    return elements + _letters(word, -length * 0.62, size / 2, size, ink, "text", 0.95)


def gear(rng: np.random.Generator) -> Elements:
    """A gear wheel with holes or bolts."""
    teeth, radius, colour = int(rng.integers(9, 26)), rng.uniform(0.55, 0.82), metal(rng)
    wave = np.sin(teeth * np.linspace(0, 2 * np.pi, 720, endpoint=False))
    outline = polar(radius * (1 - rng.uniform(0.06, 0.11) * (1 - np.clip(2.5 * wave, -1, 1))))
    bore = disc(0, 0, radius * rng.uniform(0.12, 0.25))
    elements = [
        Element((outline, bore), colour, height=0.6),
        Element((disc(0, 0, radius * 0.4), bore), colour * 0.9, height=1.0),
    ]
    count, hole, head = int(rng.integers(3, 8)), radius * rng.uniform(0.05, 0.1), metal(rng)
    bolted = rng.uniform() < 0.5
    for i, (x, y) in enumerate(_around(count, radius * 0.57)):
        if bolted:
            elements += screw(x, y, hole, head, f"bolt{i}", rng.uniform(0, np.pi))
        else:
            elements.append(Element((disc(x, y, hole),), colour, height=0, cuts=True, group=f"hole{i}"))
    return elements


def cable_section(rng: np.random.Generator) -> Elements:
    """A cut through a cable: cores with their strands."""
    radius, cores, sheath = rng.uniform(0.55, 0.85), int(rng.integers(2, 5)), plastic(rng)
    strand_colour = colour_of(rng, COPPER if rng.uniform() < 0.7 else STEEL)
    elements = [
        Element((disc(0, 0, radius),), sheath, height=0.6, dome=0.1),
        Element((disc(0, 0, radius * 0.88),), contrasting(rng, sheath), height=0.5),
    ]
    core = radius * {2: 0.4, 3: 0.38, 4: 0.34}[cores]
    distance = radius * {2: 0.43, 3: 0.46, 4: 0.5}[cores]
    rings = int(rng.integers(2, 4))
    strand = core * 0.68 / (2 * rings + 1)
    for i, (cx, cy) in enumerate(_around(cores, distance, rng.uniform(0, np.pi))):
        group = f"core{i}"
        elements.append(Element((disc(cx, cy, core),), colour_of(rng, PAINT), height=0.7, group=group))
        spots = [(0.0, 0.0)] + [spot for ring in range(1, rings + 1) for spot in _around(6 * ring, 2 * ring * strand)]
        for x, y in spots:
            colour = np.clip(strand_colour * rng.normal(1, 0.1), 0, 255).astype(np.float32)
            elements.append(Element((disc(cx + x, cy + y, strand),), colour, height=1, dome=0.8, group=group))
    return elements


def bolt(rng: np.random.Generator) -> Elements:
    """A threaded bolt with washer and, at times, a nut."""
    shank, head, colour = rng.uniform(0.08, 0.16), rng.uniform(0.2, 0.3), metal(rng)
    length, turns = rng.uniform(0.5, 0.62), int(rng.integers(9, 20))
    tip = np.array([(-length - 0.08, -shank * 0.5), (-length - 0.08, shank * 0.5), (-length, shank), (-length, -shank)])
    elements = [
        Element((tip,), colour * 0.8, height=0.5),
        Element((rectangle(0.1, 0, length + 0.1, shank),), colour, height=0.8, dome=0.9),
    ]
    for i in range(turns):
        x = -length + (i + 0.3) * (length * 1.25 / turns)
        ridge = np.array([(x, -shank * 1.12), (x + 0.03, shank * 1.12)])
        elements.append(Element((ridge,), colour * 0.6, height=0.9, stroke=length * 0.5 / turns))
    end = length + 0.2
    head_outline = rectangle(end, 0, 0.13, head, corner=0.04)
    elements.append(Element((head_outline,), colour * 0.95, height=1.0, dome=0.5))
    if rng.uniform() < 0.6:
        nut = rectangle(0.25, 0, 0.1, head * 0.9, corner=0.02)
        elements.append(Element((nut,), metal(rng), height=1.0, dome=0.5, group="nut"))
    washer = rectangle(end - 0.17, 0, 0.03, head * 1.1, corner=0.02)
    return [*elements, Element((washer,), metal(rng), height=0.9, group="washer")]


def label(rng: np.random.Generator) -> Elements:
    """A printed label with lines of text and a bar code."""
    half_width, half_height = rng.uniform(0.6, 0.85), rng.uniform(0.4, 0.75)
    paper, ink = colour_of(rng, PALE_PLASTIC), colour_of(rng, BLACK_PLASTIC if rng.uniform() < 0.6 else PAINT)
    elements = [Element((rectangle(0, 0, half_width, half_height, corner=0.05),), paper, height=0.3)]
    if rng.uniform() < 0.7:
        band = rectangle(0, -half_height + 0.14, half_width - 0.05, 0.09)
        elements.append(Element((band,), colour_of(rng, PAINT), height=0.3, group="band"))
    y, line = -half_height + 0.42, 0
    while y < half_height - 0.26:
        size = float(rng.uniform(0.09, 0.16))
        word = _serial(rng, int((2 * half_width - 0.15) / size / 1.05))
        elements += _letters(word, -half_width + 0.07, y, size, ink, f"line{line}_", 0.3)
        y, line = y + size + 0.08, line + 1
    x = -half_width + 0.1
    while x < half_width - 0.1:
        bar = float(rng.choice([0.008, 0.014, 0.022]))
        stripe = rectangle(x, half_height - 0.13, bar, 0.09)
        elements.append(Element((stripe,), ink, height=0.3, group=f"bar{len(elements)}"))
        x += 2 * bar + float(rng.choice([0.012, 0.02, 0.035]))
    return elements
