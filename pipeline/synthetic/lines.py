"""Synthetic product lines: generated from a seed, in memory or as folders in the MVTec AD layout.

A line is one product (`LINE_KINDS`) in front of one camera. Its good images differ as real ones do: pose, texture
phase, light, noise. Its defects are structural (`STRUCTURAL_KINDS`, where the product has a structure) or painted
(`DEFECT_KINDS`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StorageError
from pipeline.storage import new_folder
from pipeline.synthetic.assemblies import PARTS
from pipeline.synthetic.camera import Camera
from pipeline.synthetic.defects import (
    DEFECT_KINDS,
    PaintedDefect,
    border_of,
    confine,
    is_clear,
    paint_defect,
    visible_change,
)
from pipeline.synthetic.products import Flaw, build_product
from pipeline.synthetic.textures import TEXTURES

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other pixels, so that folders of two versions are never taken for equal."""
LINE_KINDS: tuple[str, ...] = tuple(
    kind for pair in zip(TEXTURES, PARTS, strict=True) for kind in pair
)  # alternating: any run of seeds holds textures and parts alike
MIN_SIZE = 64

_PARAMETERS = "synthetic.json"
_KINDS_PER_LINE = 6
_TRIES = 8
_SEED_LIMIT = 2**62


class GoodImage(NamedTuple):
    """`image` uint8 (S, S, 3) RGB; `foreground` bool (S, S), True on the product."""

    image: NDArray[np.uint8]
    foreground: NDArray[np.bool_]


class SyntheticLine:
    """One product line. Made by `generate_line`; the same seed and size always give the same line.

    Attributes:
        seed: what it was generated from.
        kind: one of `LINE_KINDS`.
        size: its images are `size` x `size` pixels.
        defect_kinds: all kinds of defects it can show.
    """

    def __init__(self, seed: int, size: int) -> None:
        self.seed, self.size = seed, size
        self.kind = LINE_KINDS[seed % len(LINE_KINDS)]
        rng = np.random.default_rng([GENERATOR_VERSION, seed])
        self._product = build_product(self.kind, rng)
        self._camera = Camera(rng)
        self.defect_kinds = (*self._product.structural_kinds, *DEFECT_KINDS)

    @property
    def name(self) -> str:
        """The line's folder name."""
        return f"synthetic_{self.kind}_{self.seed:03d}"

    def good(self, rng: np.random.Generator) -> GoodImage:
        """A good image and where the product is."""
        instance, lighting, noise = _seeds(rng)
        drawing = self._product.draw(instance, self.size)
        scene = self._camera.illuminate(drawing, np.random.default_rng(lighting))
        return GoodImage(self._camera.expose(scene, np.random.default_rng(noise)), drawing.foreground)

    def defective(self, rng: np.random.Generator, kind: str | None = None) -> PaintedDefect:
        """A defective image, its mask and the kind of defect.

        Args:
            rng: the only source of randomness.
            kind: one of `defect_kinds`; None draws a structural one for a third of the images, where there are any.

        Returns:
            The image uint8 (S, S, 3), the mask bool (S, S), never empty, of where it visibly differs from its good
            self before blur and noise, and the kind (another than asked for if that one cannot show here).

        Raises:
            ValueError: `kind` is not one of `defect_kinds`.
        """
        _, flawed, noise = self._before_exposure(rng, kind)
        return flawed._replace(image=self._camera.expose(flawed.image, np.random.default_rng(noise)))

    def defective_pair(self, rng: np.random.Generator, kind: str | None = None) -> tuple[GoodImage, PaintedDefect]:
        """As `defective`, preceded by the same image without the defect (same pose, light and noise)."""
        good, flawed, noise = self._before_exposure(rng, kind)
        good_image, flawed_image = (
            self._camera.expose(scene, np.random.default_rng(noise)) for scene in (good.image, flawed.image)
        )
        return good._replace(image=good_image), flawed._replace(image=flawed_image)

    def _before_exposure(self, rng: np.random.Generator, kind: str | None) -> tuple[GoodImage, PaintedDefect, int]:
        """The scene without and with a defect, before blur and noise; and the noise's seed."""
        if kind is not None and kind not in self.defect_kinds:
            raise ValueError(f"expected a defect kind of {', '.join(self.defect_kinds)}, got {kind!r}")
        instance, lighting, noise = _seeds(rng)
        drawing = self._product.draw(instance, self.size)
        scene = self._camera.illuminate(drawing, np.random.default_rng(lighting))
        if kind is None:
            structural = self._product.structural_kinds
            choices = structural if structural and rng.uniform() < 1 / 3 else DEFECT_KINDS
            kind = choices[rng.integers(len(choices))]
        flawed = None
        if kind in self._product.structural_kinds:
            flawed = self._structural(kind, instance, lighting, scene, rng)
            kind = None  # where none of the tries showed: any painted kind
        if flawed is None:
            flawed = paint_defect(scene, rng, kind=kind, foreground=drawing.foreground)
        return GoodImage(scene, drawing.foreground), flawed, noise

    def _structural(
        self, kind: str, instance: int, lighting: int, scene: NDArray[np.uint8], rng: np.random.Generator
    ) -> PaintedDefect | None:
        for _ in range(_TRIES):
            flaw = Flaw(kind, int(rng.integers(_SEED_LIMIT)))
            drawing = self._product.draw(instance, self.size, flaw)
            flawed = self._camera.illuminate(drawing, np.random.default_rng(lighting))
            mask = visible_change(scene, flawed, self.size)
            if is_clear(scene, flawed, mask, mask.size):
                return PaintedDefect(confine(scene, flawed, mask, border_of(mask.shape)), mask, kind)
        return None


def generate_line(seed: int, *, size: int = 256) -> SyntheticLine:
    """The synthetic line of a seed: `LINE_KINDS` in turn, every other property drawn from the seed.

    Raises:
        ValueError: a negative seed, or a size below `MIN_SIZE`.
    """
    if seed < 0 or size < MIN_SIZE:
        raise ValueError(f"expected seed >= 0 and size >= {MIN_SIZE}, got seed {seed} and size {size}")
    return SyntheticLine(seed, size)


def write_line(
    root: Path, seed: int, *, good: int = 24, test_good: int = 12, defects: int = 24, size: int = 256
) -> Path:
    """Write a line as a folder in the MVTec AD layout below `root`; returns the folder.

    `train/good`, `test/good`, `test/<kind>` and `ground_truth/<kind>/<number>_mask.png`, all PNG; up to six kinds of
    defects. The folder is written beside its place and renamed, so that it is there complete or not at all. One that
    exists with the same parameters is left as it is.

    Raises:
        StorageError: the folder exists with other parameters, or cannot be written.
        ValueError: a negative number of images, or arguments `generate_line` refuses.
    """
    if min(good, test_good, defects) < 0:
        raise ValueError(f"expected numbers of images >= 0, got {good}, {test_good}, {defects}")
    line = generate_line(seed, size=size)
    parameters = {
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "good": good,
        "test_good": test_good,
        "defects": defects,
        "size": size,
    }
    target = root / line.name
    if not target.exists():
        try:
            with new_folder(target) as partial:
                _write_images(line, partial, good, test_good, defects)
                (partial / _PARAMETERS).write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")
        except StorageError:
            if not target.exists():  # else another process was first
                raise
    return _require_same(target, parameters)


def write_lines(
    root: Path, seeds: Iterable[int], *, good: int = 24, test_good: int = 12, defects: int = 24, size: int = 256
) -> list[Path]:
    """`write_line` for each seed; returns the folders in the order of the seeds."""
    return [write_line(root, seed, good=good, test_good=test_good, defects=defects, size=size) for seed in seeds]


def _seeds(rng: np.random.Generator) -> tuple[int, int, int]:
    """Seeds for the instance, its light and its noise: what a defect changes must not shift the others' draws."""
    instance, lighting, noise = (int(seed) for seed in rng.integers(_SEED_LIMIT, size=3))
    return instance, lighting, noise


def _require_same(target: Path, parameters: dict[str, Any]) -> Path:
    try:
        written = json.loads((target / _PARAMETERS).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        written = "a folder this generator did not write"
    if written != parameters:
        raise StorageError(
            f"the synthetic line {parameters} at {target}", f"{written}", "remove that folder or choose another root"
        )
    return target


def _write_images(line: SyntheticLine, folder: Path, good: int, test_good: int, defects: int) -> None:
    rng = np.random.default_rng([GENERATOR_VERSION, line.seed, line.size])
    for split, count in (("train", good), ("test", test_good)):
        for index in range(count):
            _write_png(folder / split / "good" / f"{index:03d}.png", line.good(rng).image)
    structural = [kind for kind in line.defect_kinds if kind not in DEFECT_KINDS]
    painted = rng.permutation(DEFECT_KINDS).tolist()[: _KINDS_PER_LINE - len(structural)]
    chosen = [*structural, *painted]
    counts: dict[str, int] = {}
    for index in range(defects):
        image, mask, kind = line.defective(rng, chosen[index % len(chosen)])
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        _write_png(folder / "test" / kind / f"{number:03d}.png", image)
        _write_png(folder / "ground_truth" / kind / f"{number:03d}_mask.png", mask.astype(np.uint8) * 255)


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    encoded, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert encoded, f"PNG encoding failed for {image.dtype} {image.shape}"
    path.write_bytes(data.tobytes())
