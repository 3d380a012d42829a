"""What every point measures with: one adapted line in a home of its own, images of 1 Mpx, and the clocks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import TypeVar

import cv2
import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from deploy.engine.limits import available_cpus
from deploy.engine.runtime import ScoringEngine
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from pipeline.settings import Settings
from pipeline.synthetic.lines import generate_line, write_line

LINE = "bench/line"
SIDE = 1024
WORKERS = available_cpus()
ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Setting:
    """A home with one live line, the folder it was adapted from, and whether to be quick."""

    root: Path
    settings: Settings
    images: Path
    quick: bool

    @property
    def deployment(self) -> Deployment:
        return Registry(self.settings.home).deployment(LINE)


def prepare(root: Path, *, quick: bool) -> Setting:
    """Adapt the memory bank, k = 4 + 4, to a generated line of 1 Mpx images."""
    from flows.adapt import job as adapt  # noqa: PLC0415  # loads torch, whose memory is not scoring's

    images = write_line(root / "lines", seed=7, good=6, test_good=4, defects=6, size=SIDE)
    settings = Settings(home=root / "home")
    adapt.run(adapt_request(images), settings)
    return Setting(root, settings, images, quick)


def adapt_request(images: Path) -> AdaptRequest:
    return AdaptRequest(line=LINE, images=images, learner=LearnerName.MEMORY_BANK, good=4, defects=4, size=256)


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


def engine_of(deployment: Deployment) -> ScoringEngine:
    engine = ScoringEngine(deployment.backbone, "cpu", threads=1)
    engine.add_head(LINE, deployment.bundle.head_path, deployment.bundle.head_sha256)
    return engine


def seconds_for(function: Callable[[ItemT], object], items: Sequence[ItemT], workers: int = WORKERS) -> float:
    """Wall seconds for all items on a pool of threads, the same number that scoring takes."""
    with ThreadPoolExecutor(workers) as pool:
        began = time.perf_counter()
        list(pool.map(function, items))
        return time.perf_counter() - began


def median_ratio(above: Iterable[float], below: Iterable[float]) -> float:
    """The median over rounds of a ratio of two figures that were measured next to each other."""
    return median(a / b for a, b in zip(above, below, strict=True))


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
