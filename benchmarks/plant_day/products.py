"""What a plant makes: parts of a line, good and defective, each picture of them another one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.images import read_native
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.synthetic.lines import generate_line

SIDE = 160  # of the cameras' images, pixels
GOOD, DEFECTIVE = 8, 3  # labelled images that a line begins with
_PARTS = 120  # of a line, good and likewise defective: every other real one is for its camera, again with other noise


class Product:
    """A line's parts.

    Args:
        line: its name.
        good: pictures of good parts, uint8 (160, 160, 3); the first few are labelled, and of the others every other one
            is shown by the camera.
        defective: those of defective ones, likewise.
        make: a picture of a new part, defective or not, which the camera shows in place of those; None: there are none.
    """

    def __init__(
        self,
        line: str,
        good: Sequence[NDArray[np.uint8]],
        defective: Sequence[NDArray[np.uint8]],
        make: Callable[[np.random.Generator, bool], NDArray[np.uint8]] | None = None,
    ) -> None:
        self.line, self._make = line, make
        self._labelled = (good[:GOOD], defective[:DEFECTIVE])
        self._made = (good[GOOD::2], defective[DEFECTIVE::2])
        self._unseen = (good[GOOD + 1 :: 2], defective[DEFECTIVE + 1 :: 2])

    def write_labelled(self, folder: Path) -> None:
        """The images that people sort before the line begins, as its camera sees them: `good/` and `defect/`."""
        rng = np.random.default_rng(1)
        for name, pictures in zip(("good", "defect"), self._labelled, strict=True):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for number, picture in enumerate(pictures):
                (folder / name / f"{number:02}.png").write_bytes(encoded(_seen(picture, rng, 1.0)))

    def picture(self, rng: np.random.Generator, *, defective: bool, gain: float) -> NDArray[np.uint8]:
        """What a camera sees now, uint8 (160, 160, 3); `gain`: how much of the light is left."""
        if self._make is not None:
            return _seen(self._make(rng, defective), rng, gain)
        pool = self._made[defective]
        return _seen(pool[int(rng.integers(len(pool)))], rng, gain)

    def unseen(self, *, defective: bool, gain: float) -> list[NDArray[np.uint8]]:
        """Each part that no camera shows and nobody labels, seen once, as `picture`."""
        rng = np.random.default_rng(0)
        return [_seen(part, rng, gain) for part in self._unseen[defective]]


def _seen(part: NDArray[np.uint8], rng: np.random.Generator, gain: float) -> NDArray[np.uint8]:
    return (part * gain + rng.normal(0, 1.5, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)


def encoded(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture as a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def products(count: int, seed: int) -> list[Product]:
    """So many lines: real ones of LINEWISE_LINES, where that folder is, in turn with generated ones.

    A generated line's camera shows a new part each time; a real one's shows the parts that there are again and again.
    """
    folder = os.environ.get("LINEWISE_LINES")
    real = find_lines(Path(folder)) if folder else []
    rng = np.random.default_rng(seed)
    rng.shuffle(real)  # type: ignore[arg-type]  # a list is one
    wanted = [line for line in real if len(line.defects) > 3 * DEFECTIVE and len(_good(line)) > 3 * GOOD]
    found = []
    for number in range(count):
        if number % 2 == 0 and wanted:
            found.append(_real(wanted.pop()))
        else:
            found.append(_generated(f"made/line-{number}", seed + 7 * number))
    return found


def _good(line: ProductLine) -> list[Path]:
    return [record.path for record in (*line.train_good, *line.test_good)]


def _real(line: ProductLine) -> Product:
    defects = [record.path for record in line.defects]
    chosen = (_good(line)[:_PARTS], defects[:: max(1, len(defects) // _PARTS)][:_PARTS])
    good, defective = ([_small(read_native(path)) for path in paths] for paths in chosen)
    return Product(line.name, good, defective)


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    return cv2.resize(colour, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _generated(name: str, seed: int) -> Product:
    line, rng = generate_line(seed, size=SIDE), np.random.default_rng(seed)

    def make(of: np.random.Generator, defective: bool) -> NDArray[np.uint8]:
        return (line.defective(of) if defective else line.good(of)).image

    good, defective = ([make(rng, kind) for _ in range(_PARTS)] for kind in (False, True))
    return Product(name, good, defective, make)
