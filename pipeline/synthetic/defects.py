"""Synthetic defects on any good image, real or generated, with exact masks.

With no defective image in the support these alone teach the adaptation, so they are diverse: pasted, painted, blended
and bent, from a speck to a tenth of the image, from hardly visible to glaring.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.fields import Field, log_uniform
from pipeline.synthetic.painters import DEFECTS, Brush, Patch
from pipeline.synthetic.regions import feathered

DEFECT_KINDS: tuple[str, ...] = tuple(DEFECTS)
MIN_SIDE = 32
AREA_FRACTION = (0.002, 0.10)
"""Drawn size of a defect as a fraction of the image, log-uniform. Thin kinds span this area and cover less."""

_VISIBLE_LEVELS = 5
"""A pixel shows a change if a channel differs by at least this many of 255 levels."""
_TRIES = 12


class PaintedDefect(NamedTuple):
    """`image` uint8 (H, W, 3); `mask` bool (H, W), True where the image visibly differs; the defect's `kind`."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    kind: str


def paint_defect(
    image: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    kind: str | None = None,
    foreground: NDArray[np.bool_] | None = None,
    donor: NDArray[np.uint8] | None = None,
) -> PaintedDefect:
    """Paint one defect on a good image.

    Args:
        image: uint8 RGB (H, W, 3), sides of at least 32 px; not changed.
        rng: the only source of randomness.
        kind: one of `DEFECT_KINDS`; None draws one.
        foreground: bool (H, W), where the product is; None estimates it (see `estimate_foreground`).
        donor: uint8 RGB of any size, foreign material for pasted and blended kinds; None uses generated textures.

    Returns:
        The painted image, its mask and the kind. The mask is never empty and covers 0.03 % to 20 % of the image (at
        least 3 pixels); outside the mask and a border of three 256ths of the image (at least 3 px) nothing differs.
        A kind that cannot show on this image (blur on a flat surface) gives way to a stain after some tries.

    Raises:
        ValueError: an argument of the wrong dtype, shape or name.
    """
    _check(image, kind, foreground, donor)
    product = estimate_foreground(image) if foreground is None else foreground
    if not product.any():
        product = np.ones_like(product)
    for _ in range(_TRIES):
        chosen = kind or DEFECT_KINDS[rng.integers(len(DEFECT_KINDS))]
        fraction = log_uniform(rng, *AREA_FRACTION)
        painted = _attempt(image, chosen, fraction, product, donor, rng)
        if painted is not None:
            return painted
    return _certain_stain(image, product, rng)


def estimate_foreground(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the product is, cheaply: what differs from the colour of the image's border, split by Otsu's threshold.

    Returns bool (H, W); all True where no background stands out (a surface that fills the image).
    """
    height, width = image.shape[:2]
    scale = 128 / max(height, width, 128)
    small = cv2.resize(
        image, (max(8, round(width * scale)), max(8, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), 1.5).astype(np.float32)
    border = np.concatenate([_rim(small[..., channel], 3)[:, None] for channel in range(3)], axis=1)
    away = np.abs(small - np.median(border, 0)).max(2)
    level, split = cv2.threshold(away.clip(0, 255).astype(np.uint8), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    inside = split.astype(bool)
    if level < 12 or _rim(inside, 2).mean() > 0.15 or not 0.03 < inside.mean() < 0.9:
        return np.ones((height, width), np.bool_)
    closed = cv2.morphologyEx(split, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea)
    if cv2.contourArea(largest) < 0.6 * inside.sum():  # many pieces: a pattern, not a product on a background
        return np.ones((height, width), np.bool_)
    filled = cv2.drawContours(np.zeros(split.shape, np.uint8), [largest], -1, 1, cv2.FILLED)
    return cv2.resize(filled, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def _rim(field: NDArray, width: int) -> NDArray:
    """The values of a field (H, W) within `width` of its border."""
    sides = (field[:width], field[-width:], field[:, :width], field[:, -width:])
    return np.concatenate([side.ravel() for side in sides])


def visible_change(before: NDArray, after: NDArray, side: int) -> NDArray[np.bool_]:
    """Where two images (H, W, 3) of 0..255 differ visibly, small gaps closed and lone pixels dropped: bool (H, W).

    `side` is the shorter side of the whole image, which they may be a part of: gaps are small against it.
    """
    differs = np.abs(np.asarray(after, np.float32) - np.asarray(before, np.float32)).max(2) >= _VISIBLE_LEVELS
    gap = max(3, round(5 * side / 256)) | 1
    closing = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap, gap))
    closed = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_CLOSE, closing)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    if count <= 1:
        return np.zeros(differs.shape, np.bool_)
    keep = stats[:, cv2.CC_STAT_AREA] >= max(3, 0.02 * stats[1:, cv2.CC_STAT_AREA].max())
    keep[0] = False
    return keep[np.asarray(labels, np.intp)]


def confine(before: NDArray, after: NDArray, mask: NDArray[np.bool_], border: int) -> NDArray:
    """`after` within the mask grown by `border` pixels, `before` elsewhere: faint tails outside the mask vanish."""
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * border + 1, 2 * border + 1), np.uint8))
    return np.where(near[..., None] > 0, after, before)


def is_clear(before: NDArray, after: NDArray, mask: NDArray[np.bool_], total: int) -> bool:
    """Whether a defect is worth having: large enough for an image of `total` pixels, not too large, strong enough."""
    covered = int(mask.sum())
    if covered < max(3, 0.0003 * total) or covered > 0.2 * total:
        return False
    strength = np.abs(np.asarray(after, np.float32) - np.asarray(before, np.float32)).max(2)[mask].mean()
    return bool(strength >= 8)


def _check(image: NDArray, kind: str | None, foreground: NDArray | None, donor: NDArray | None) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < MIN_SIDE:
        raise ValueError(f"expected a uint8 image (H, W, 3) of at least {MIN_SIDE} px, got {image.dtype} {image.shape}")
    if kind is not None and kind not in DEFECTS:
        raise ValueError(f"expected a defect kind of {', '.join(DEFECTS)}, got {kind!r}")
    if foreground is not None and (foreground.dtype != np.bool_ or foreground.shape != image.shape[:2]):
        raise ValueError(f"expected a bool foreground {image.shape[:2]}, got {foreground.dtype} {foreground.shape}")
    if donor is not None and (donor.dtype != np.uint8 or donor.ndim != 3 or donor.shape[2] != 3 or not donor.size):
        raise ValueError(f"expected a uint8 donor (H, W, 3), got {donor.dtype} {donor.shape}")


def border_of(shape: tuple[int, ...]) -> int:
    """How far outside its mask a defect may still change pixels: three 256ths of the shorter side, at least 3 px."""
    return max(3, round(3 * min(shape[:2]) / 256))


def _attempt(
    image: NDArray[np.uint8],
    kind: str,
    fraction: float,
    product: NDArray[np.bool_],
    donor: NDArray[np.uint8] | None,
    rng: np.random.Generator,
) -> PaintedDefect | None:
    """One try: None where the defect hardly shows."""
    height, width = image.shape[:2]
    recipe, unit = DEFECTS[kind], min(height, width) / 256
    area = max(6.0, min(fraction * height * width, 0.6 * np.count_nonzero(product)))
    shape = recipe.shapes[rng.integers(len(recipe.shapes))]
    stencil = feathered(shape(rng, area), max(0.3, log_uniform(rng, *recipe.feather) * unit))
    y, x = _place(product, rng)
    margin = border_of(image.shape) + 2 + round(recipe.spread * max(stencil.shape))
    rows, columns, stencil = _clip(np.pad(stencil, margin), y, x, height, width)
    if recipe.on_product:
        stencil = stencil * product[rows, columns]
    before = image[rows, columns]
    patch: Patch = before.astype(np.float32)
    painted = recipe.paint(patch, stencil, Brush(rng, image, donor, max(unit, 0.25)))
    if recipe.on_product:  # also what a painter spreads beyond its stencil: shading, blur
        painted = np.where(product[rows, columns, None], painted, patch)
    if _is_grey(image):  # a grey camera shows no colours
        painted = np.repeat(painted.mean(2, keepdims=True), 3, axis=2)
    return _finish(image, before, painted, rows, columns, kind)


def _is_grey(image: NDArray[np.uint8]) -> bool:
    """Whether the three channels are one, judged by a grid of up to 256 x 256 pixels."""
    sample = image[:: 1 + image.shape[0] // 256, :: 1 + image.shape[1] // 256]
    return bool((sample == sample[..., :1]).all())


def _place(product: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int]:
    """A random pixel (y, x) of the product."""
    height, width = product.shape
    for _ in range(64):  # by rejection: listing the pixels of a large image is slower than painting on it
        y, x = int(rng.integers(height)), int(rng.integers(width))
        if product[y, x]:
            return y, x
    places = np.flatnonzero(product)
    y, x = divmod(int(places[rng.integers(len(places))]), width)
    return y, x


def _finish(
    image: NDArray[np.uint8], before: NDArray[np.uint8], painted: Patch, rows: slice, columns: slice, kind: str
) -> PaintedDefect | None:
    after = np.clip(np.rint(painted), 0, 255).astype(np.uint8)
    changed = visible_change(before, after, min(image.shape[:2]))
    if not is_clear(before, after, changed, image.shape[0] * image.shape[1]):
        return None
    result, mask = image.copy(), np.zeros(image.shape[:2], np.bool_)
    result[rows, columns] = confine(before, after, changed, border_of(image.shape))
    mask[rows, columns] = changed
    return PaintedDefect(result, mask, kind)


def _clip(stencil: Field, y: int, x: int, height: int, width: int) -> tuple[slice, slice, Field]:
    """The stencil centred at (y, x), cut at the image's border: image rows, image columns, what is left of it."""
    top, left = y - stencil.shape[0] // 2, x - stencil.shape[1] // 2
    rows = slice(max(0, top), min(height, top + stencil.shape[0]))
    columns = slice(max(0, left), min(width, left + stencil.shape[1]))
    return rows, columns, stencil[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def _certain_stain(image: NDArray[np.uint8], product: NDArray[np.bool_], rng: np.random.Generator) -> PaintedDefect:
    """The last resort that always shows: an ellipse pushed by 60 levels away from the nearer end of the range."""
    height, width = image.shape[:2]
    y, x = _place(product, rng)
    radius = max(3, round(0.04 * min(height, width)))
    spot = np.zeros((height, width), np.uint8)
    cv2.ellipse(spot, (x, y), (radius, max(3, round(radius * rng.uniform(0.5, 1)))), rng.uniform(0, 180), 0, 360, 1, -1)
    mask = spot.astype(bool)
    step = np.where(image.mean(2, keepdims=True) > 127, -60, 60)
    after = np.where(mask[..., None], np.clip(image.astype(np.int16) + step, 0, 255), image).astype(np.uint8)
    return PaintedDefect(after, mask, "stain")
