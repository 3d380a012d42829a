"""Lines whose good parts have a dark blotch anywhere, and whose defective ones a faint bright one, too: what other
lines teach tells them apart, and a few good images alone hardly do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deploy.bundles.manifest import CARD, BundleDraft
from deploy.bundles.registry import Registry
from tests.parts.line_on_disk import save

SIZE = 64


def write_blotched_line(folder: Path, seed: int, *, good: int, defects: int) -> Path:
    """The line's folder: good/, defect/ and masks/."""
    rng = np.random.default_rng(seed)
    part = rng.integers(90, 150, (SIZE, SIZE, 1)).astype(np.int16)
    for number in range(good):
        save(folder / f"good/{number:02}.png", _part(rng, part)[0])
    for number in range(defects):
        pixels, mask = _part(rng, part, bright=True)
        save(folder / f"defect/{number:02}.png", pixels)
        save(folder / f"masks/{number:02}.png", mask)
    return folder


def _part(rng: np.random.Generator, part: np.ndarray, *, bright: bool = False) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.repeat(part, 3, axis=2) + rng.integers(-8, 9, part.shape)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for shade in (-80, 25) if bright else (-80,):
        row, column = rng.integers(4, 46, 2)
        pixels[row : row + 12, column : column + 12] += shade
        if shade > 0:
            mask[row : row + 12, column : column + 12] = 255
    return np.clip(pixels, 0, 255).astype(np.uint8), mask


def register_as(registry: Registry, line: str, other: str) -> None:
    """Give another line the live version of a line: it is about registered lines, and not about how they score."""
    bundle = registry.live(line)
    kept = bundle.manifest.model_dump(exclude={"files", "format_version", "created_at", "linewise_version"})
    draft = BundleDraft.model_validate({**kept, "line": other})
    files = {name: bundle.path / name for name in bundle.manifest.files if name != CARD}
    registry.promote(other, registry.add_next(draft, files).manifest.version)
