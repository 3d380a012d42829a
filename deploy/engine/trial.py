"""Trying a device: does it score as the reference does, and how fast. Torch-free.

A trial goes the way of scoring: the same engine, one session for all workers, images one by one on the CPU and in
batches elsewhere. Only decoding is left out.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.engine.devices import ResolvedDevice
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import HeadOutputs
from pipeline.errors import DeviceError, LinewiseError
from pipeline.features import BackboneArtefact
from pipeline.input_size import InputSize
from pipeline.synthetic.lines import generate_line

_NAME = "trial"
_LINE_SEED = 20_000  # a line that neither the channel standard deviation nor the export's own comparison has seen
_IMAGES = 8


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """What a device is tried with: a backbone, a head made for it, and images.

    Args:
        backbone: an exported backbone.
        head: a head's `head.onnx`.
        head_sha256: what that file hashes to.
        origin: where they come from, for the reader.
        images: (B, H, W, 3) uint8 at the backbone's size.
        torch_scores: what torch computes for them; None where it is not there to ask.
    """

    backbone: BackboneArtefact
    head: Path
    head_sha256: str
    origin: str
    images: NDArray[np.uint8]
    torch_scores: HeadOutputs | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a device made of a specimen: its scores, and images per second with so many workers and images a batch."""

    scores: HeadOutputs
    images_per_second: float
    workers: int
    batch: int


def generated_pair(size: InputSize) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images of one generated line, the same on every call: two good ones to make a head from, and eight to score.

    Both uint8 (B, height, width, 3); of the eight every second one is defective.
    """
    line, rng = generate_line(_LINE_SEED, size=max(size)), np.random.default_rng(_LINE_SEED)
    support = np.stack([line.good(rng).image for _ in range(2)])
    query = np.stack([line.defective(rng).image if i % 2 else line.good(rng).image for i in range(_IMAGES)])
    return support[:, : size.height, : size.width], query[:, : size.height, : size.width]


def try_device(specimen: Specimen, resolved: ResolvedDevice, *, workers: int, batch: int, seconds: float) -> Trial:
    """Score the specimen's images, then as many as there is time for.

    Args:
        specimen: what to score.
        resolved: the device.
        workers: threads that score.
        batch: images a call.
        seconds: how long to measure.

    Raises:
        BundleError: a graph is damaged or does not fit.
        DeviceError: the device cannot open or run the graphs.
    """
    try:
        engine = ScoringEngine(specimen.backbone, resolved, threads=1)  # one CPU a worker, as in scoring
        engine.add_head(_NAME, specimen.head, specimen.head_sha256)
        scores = engine.score(_NAME, specimen.images).outputs()
        pixels = np.stack(list(islice(cycle(specimen.images), batch)))
        engine.score(_NAME, pixels)  # the first call of a shape prepares the session
        speed = _images_per_second(engine, pixels, workers, seconds)
    except LinewiseError:
        raise
    except Exception as error:  # onnxruntime's own, such as memory that a GPU has not
        raise DeviceError(
            f"{resolved.device} to score generated images", str(error).strip()[:300], "free its memory or use cpu"
        ) from error
    return Trial(scores=scores, images_per_second=speed, workers=workers, batch=batch)


def _images_per_second(engine: ScoringEngine, pixels: NDArray[np.uint8], workers: int, seconds: float) -> float:
    began = time.perf_counter()

    def score_until_the_end() -> int:
        done = 0
        while time.perf_counter() - began < seconds:
            engine.score(_NAME, pixels)
            done += len(pixels)
        return done

    with ThreadPoolExecutor(workers, thread_name_prefix="linewise-trial") as pool:
        done = sum(future.result() for future in [pool.submit(score_until_the_end) for _ in range(workers)])
    return done / (time.perf_counter() - began)
