"""A line's stream as its camera gives it: generated parts, jittered, with noise, as rows of the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import cv2
import numpy as np
from numpy.typing import NDArray

from deploy.results.drift_rows import StreamRow
from pipeline.camera_shift import CameraShift
from pipeline.look import look_of
from pipeline.look_figures import figures_of

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]

SIDE, HEIGHT, WIDTH = 128, 960, 1280
BEGAN = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def part(seed: int) -> Pixels:
    """A board with parts on it, which stands a little elsewhere in every image."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), 60.0, np.float32)
    dx, dy = rng.normal(0, 0.4, 2)
    for left, top, right, bottom, colour in ((20, 30, 60, 50, (170, 160, 150)), (75, 60, 95, 110, (140, 150, 165))):
        cv2.rectangle(image, (left, top), (right, bottom), colour, -1)
    image = cv2.warpAffine(image, np.array([[1, 0, dx], [0, 1, dy]]), (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    light = 1 + rng.normal(0, 0.02)
    return np.clip(image * light + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def shifted(name: str, strength: float = 1.0) -> Change:
    shift = CameraShift(name, strength)
    return lambda pixels: shift.apply(pixels, sha256(pixels.data).hexdigest())


def row(number: int, pixels: Pixels, **changes: object) -> StreamRow:
    score = float(np.random.default_rng(number).gumbel())
    seen = StreamRow(
        number, BEGAN + timedelta(seconds=number), f"/images/{number}.png", score, HEIGHT, WIDTH, 24,
        *figures_of(look_of(pixels)),
    )  # fmt: skip
    return seen._replace(**changes)


def stream(before: int, after: int = 0, change: Change | None = None, **changes: object) -> list[StreamRow]:
    """Rows 1 to `before + after`; the last `after` of them are changed."""
    rows = [row(number, part(number)) for number in range(1, before + 1)]
    for number in range(before + 1, before + after + 1):
        pixels = part(number)
        rows.append(row(number, pixels if change is None else change(pixels), **changes))
    return rows


def of_ids(rows: Sequence[StreamRow], first: int, last: int) -> list[StreamRow]:
    return [each for each in rows if first <= each.id <= last]
