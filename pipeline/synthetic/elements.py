"""Elements: the vector shapes that parts are made of, and how they are drawn.

Part units: the image spans -1..1 in x and y at any pixel size, so that a part is the same product at every size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.fields import Colour, Field

Outline = NDArray[np.float64]
"""Points (N, 2) as x, y in part units."""
_SUBPIXEL_BITS = 4
_GLYPH_HEIGHT = 96


@dataclass(frozen=True)
class Element:
    """One shape of a part.

    Args:
        outlines: closed outlines, filled by the even-odd rule (an inner outline is a hole); or open paths (`stroke`).
        colour: RGB, 0..255.
        height: level of its top, 0..1 of the part's relief.
        dome: 0 flat, 1 fully rounded towards the outline.
        stroke: line width in part units of open paths; None fills.
        cuts: removes what lies below (a hole through the part) instead of covering it.
        component: may be missing, misplaced or wrongly coloured in a defective part. Elements with the same `group`
            move together.
        group: name of the component it belongs to; "" for the fixed body.
    """

    outlines: tuple[Outline, ...]
    colour: Colour
    height: float = 0.5
    dome: float = 0.0
    stroke: float | None = None
    cuts: bool = False
    group: str = ""


@dataclass(frozen=True)
class Pose:
    """Where a part lies: turned by `angle` (radians), scaled, then shifted by (x, y) in part units."""

    angle: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def apply(self, points: Outline) -> Outline:
        """Points (N, 2) in the image, still in part units."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return points @ np.array([[cosine, sine], [-sine, cosine]]) * self.scale + np.array(self.shift)


@dataclass
class Canvas:
    """What has been drawn so far: colour (S, S, 3), cover 0..1 and relief height 0..1 (S, S), float32."""

    size: int
    colour: NDArray[np.float32] = field(init=False)
    cover: Field = field(init=False)
    height: Field = field(init=False)

    def __post_init__(self) -> None:
        self.colour = np.zeros((self.size, self.size, 3), np.float32)
        self.cover = np.zeros((self.size, self.size), np.float32)
        self.height = np.zeros((self.size, self.size), np.float32)

    def draw(self, element: Element, pose: Pose) -> None:
        """Draw one element on top, clipped at the image's border."""
        half = self.size / 2
        pixels = [(pose.apply(outline) + 1) * half - 0.5 for outline in element.outlines]
        width = 0 if element.stroke is None else max(1, round(element.stroke * half * pose.scale))
        corners = np.concatenate(pixels)
        low = np.maximum(np.floor(corners.min(0)).astype(int) - 2 - width, 0)
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 3 + width, self.size)
        if (high <= low).any():
            return
        stencil = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        fixed = [np.round((points - low) * 2**_SUBPIXEL_BITS).astype(np.int32) for points in pixels]
        if element.stroke is None:
            cv2.fillPoly(stencil, fixed, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        else:
            cv2.polylines(stencil, fixed, False, 255, width, cv2.LINE_AA, _SUBPIXEL_BITS)
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        opacity = stencil.astype(np.float32) / 255
        top: Field | float = element.height
        if element.dome > 0:
            depth = cv2.distanceTransform((stencil > 127).astype(np.uint8), cv2.DIST_L2, 3)
            inward = np.clip(1 - depth / max(float(depth.max()), 1.0), 0, 1)
            top = np.float32(element.height) * (1 - element.dome * (1 - np.sqrt(1 - inward**2)))
        self.height[window] += opacity * (top - self.height[window])
        if element.cuts:
            self.cover[window] *= 1 - opacity
            return
        self.colour[window] += opacity[..., None] * (element.colour - self.colour[window])
        self.cover[window] = np.maximum(self.cover[window], opacity)


def disc(x: float, y: float, radius: float, *, squash: float = 1.0) -> Outline:
    """A circle, or an ellipse whose y radius is `squash` times the x radius."""
    turn = np.linspace(0, 2 * np.pi, 56, endpoint=False)
    return np.stack([x + radius * np.cos(turn), y + squash * radius * np.sin(turn)], 1)


def rectangle(x: float, y: float, half_width: float, half_height: float, *, corner: float = 0.0) -> Outline:
    """A rectangle about (x, y), with rounded corners of radius `corner`."""
    corner = min(corner, half_width, half_height)
    if corner <= 0:
        signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
        return signs * (half_width, half_height) + (x, y)
    turn = np.linspace(0, np.pi / 2, 7)
    arc = np.stack([np.cos(turn), np.sin(turn)], 1) * corner
    core = np.array([half_width - corner, half_height - corner])
    quarters = []
    for quarter, sign in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        rotation = np.array([[0, 1], [-1, 0]], float)
        quarters.append(arc @ np.linalg.matrix_power(rotation, quarter) + core * sign)
    return np.concatenate(quarters) + np.array([x, y])


def polar(radii: Sequence[float] | NDArray[np.float64], *, start: float = 0.0) -> Outline:
    """A closed outline about the origin with the given radii at equal angles."""
    radius = np.asarray(radii, float)
    turn = start + np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1)


@lru_cache(maxsize=128)
def _glyph(character: str) -> tuple[tuple[Outline, ...], float]:
    """Outlines of a character (height 1, baseline at 0, y down) and its advance."""
    (width, _), _ = cv2.getTextSize(character, cv2.FONT_HERSHEY_SIMPLEX, 3.0, 12)
    sheet = np.zeros((2 * _GLYPH_HEIGHT, width + 40), np.uint8)
    cv2.putText(sheet, character, (20, _GLYPH_HEIGHT + 40), cv2.FONT_HERSHEY_SIMPLEX, 3.0, 255, 12, cv2.LINE_AA)
    contours, _ = cv2.findContours((sheet > 127).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    origin, scale = np.array([20.0, _GLYPH_HEIGHT + 40.0]), 1 / 66.0
    return tuple((contour[:, 0].astype(float) - origin) * scale for contour in contours), (width + 4) * scale


def text(content: str, x: float, y: float, height: float) -> list[tuple[Outline, ...]]:
    """Outlines of each visible character, starting at (x, y) (baseline), capitals `height` tall."""
    letters: list[tuple[Outline, ...]] = []
    for character in content:
        outlines, advance = _glyph(character) if character != " " else ((), 0.6)
        if outlines:
            letters.append(tuple(outline * height + (x, y) for outline in outlines))
        x += advance * height
    return letters


def text_width(content: str, height: float) -> float:
    """How far `text` of this height reaches."""
    return sum(_glyph(character)[1] if character != " " else 0.6 for character in content) * height


def moved(element: Element, *, shift: tuple[float, float] = (0.0, 0.0), angle: float = 0.0, about: Outline) -> Element:
    """The element turned by `angle` about the point `about`, then shifted."""
    pose = Pose(angle=angle)
    outlines = tuple(pose.apply(outline - about) + about + shift for outline in element.outlines)
    return replace(element, outlines=outlines)
