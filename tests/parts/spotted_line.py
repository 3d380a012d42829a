"""A line of noisy copies of one part, some with a spot of inverted pixels: easy to tell apart, quick to adapt to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.synthetic.lines import generate_line
from tests.parts.line_on_disk import save

SIZE = 64


def write_spotted_line(folder: Path, *, good: int, test_good: int = 0, defects: int = 0, seed: int = 0) -> Path:
    """The line's folder in MVTec AD layout; another seed gives other images of the same part."""
    rng = np.random.default_rng(seed)
    for number in range(good):
        save(folder / f"train/good/{number:02}.png", spotted_part(rng, spot=False))
    for number in range(test_good):
        save(folder / f"test/good/{number:02}.png", spotted_part(rng, spot=False))
    for number in range(defects):
        save(folder / f"test/spot/{number:02}.png", spotted_part(rng, spot=True))
    return folder


def spotted_part(rng: np.random.Generator, *, spot: bool) -> np.ndarray:
    """One image, uint8 (64, 64, 3)."""
    part, _ = generate_line(8, size=SIZE).good(np.random.default_rng(0))
    pixels = np.clip(part.astype(np.int16) + rng.integers(-12, 13, part.shape), 0, 255).astype(np.uint8)
    if spot:
        row, column = rng.integers(12, 44, 2)
        pixels[row : row + 9, column : column + 9] = 255 - pixels[row : row + 9, column : column + 9]
    return pixels
