"""What every point measures with: one deployed line, images of 1 Mpx, and the clocks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

from benchmarks.deployments import DeployedLine, deployed_line
from deploy.bundles.packs import Deployment
from deploy.engine.limits import available_cpus
from pipeline.settings import Settings
from pipeline.synthetic.lines import generate_line

SIDE = 1024
WORKERS = available_cpus()
DEFECTS = 4
"""Defective images that the line is adapted to, beside 4 good ones."""
ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Setting:
    """A folder to work in, the line to score, and whether to be quick."""

    root: Path
    line: DeployedLine
    quick: bool

    @property
    def images(self) -> Path:
        """The folder that the line was adapted from."""
        return self.line.images

    @property
    def settings(self) -> Settings:
        """Of the line's home."""
        return self.line.settings

    @property
    def deployment(self) -> Deployment:
        """The line's."""
        return self.line.deployment


def prepare(root: Path, *, quick: bool) -> Setting:
    """Adapt the memory bank, k = 4 + 4, to a generated line of 1 Mpx images."""
    return Setting(root, deployed_line(root, side=SIDE, defects=DEFECTS), quick)


def write_images(folder: Path, count: int, suffix: str, *, side: int = SIDE) -> list[Path]:
    """So many different images of one product, as JPEG (quality 90, 4:2:0), BMP or uncompressed TIFF."""
    rng = np.random.default_rng(0)
    product = generate_line(7, size=side)
    base = [product.good(rng).image for _ in range(4)]
    folder.mkdir(parents=True)
    paths = [folder / f"{number:05d}.{suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        noise = rng.integers(0, 6, (side, side, 1), dtype=np.uint8)
        noisy = cv2.add(base[number % len(base)], np.repeat(noise, 3, axis=2))
        path.write_bytes(encode(np.asarray(noisy, np.uint8), suffix))
    return paths


def encode(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """The file of RGB pixels (H, W, 3)."""
    if suffix == "jpg":
        # Colour at half the resolution, as cameras write it: 4:2:0 is what all colour JPEGs of the real lines have.
        return simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels), quality=90, colorspace="RGB", colorsubsampling="420"
        )
    if suffix == "bmp":
        return cv2.imencode(".bmp", pixels[:, :, ::-1])[1].tobytes()
    buffer = BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb")
    return buffer.getvalue()


def seconds_for(function: Callable[[ItemT], object], items: Sequence[ItemT], workers: int = WORKERS) -> float:
    """Wall seconds for all items on a pool of threads, the same number that scoring takes."""
    with ThreadPoolExecutor(workers) as pool:
        began = time.perf_counter()
        list(pool.map(function, items))
        return time.perf_counter() - began


def stolen_share(before: list[int]) -> float:
    """Share of the CPU time in use since `before`, from `cpu_ticks`, that other virtual machines took."""
    user, nice, system, _, _, irq, softirq, steal, *_ = (b - a for a, b in zip(before, cpu_ticks(), strict=True))
    return steal / max(user + nice + system + irq + softirq + steal, 1)


def cpu_ticks() -> list[int]:
    """This machine's CPU time by kind, all CPUs together (proc(5), /proc/stat)."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def memory_mb(what: str = "VmRSS") -> float:
    """Resident (VmRSS) or peak (VmHWM) memory of this process in MB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{what}:\s+(\d+) kB", status)
    assert found is not None, "Linux names it"
    return int(found[1]) * 1024 / 1e6
