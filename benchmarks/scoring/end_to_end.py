"""Point 1: files on disk to rows in SQLite, over the sum of its stages and over onnxruntime alone.

The speed of a shared machine drifts by a fifth within a minute. So each format is held against onnxruntime alone as it
ran right before and right after it, and JPEG against decoding so as well. In the same turn it is held against its own
stages in one thread with nothing of ours around them: what that costs over the stages apart, no engine can save.
"""

from __future__ import annotations

import gc
import os
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.deployments import engine_of
from benchmarks.scoring.setting import WORKERS, Setting, seconds_for, write_images
from benchmarks.turns import median_ratio
from deploy.engine.devices import ResolvedDevice, open_session
from deploy.engine.runtime import ScoringEngine
from deploy.results.store import ResultStore
from deploy.scoring.scorer import score_images
from deploy.scoring.sources.folder import FolderSource
from pipeline.imaging.images import DecodedImage, read_image
from pipeline.settings import Device

FORMATS = {"jpeg": "jpg", "bmp": "bmp", "tiff": "tif"}


def measure(setting: Setting) -> tuple[dict[str, float], list[str]]:
    """The four ratios, and what was seen."""
    deployment = setting.deployment
    engine, bare = engine_of(deployment), BareRun(setting)
    count, rounds = (40, 3) if setting.quick else (400, 7)
    preprocess = deployment.bundle.manifest.preprocess
    files = {name: write_images(setting.root / name, count, suffix) for name, suffix in FORMATS.items()}
    os.sync()  # gigabytes that are still on their way to the disk would hold up the store's commits
    images = [read_image(path, preprocess) for path in files["jpeg"]]
    pixels = [image.pixels[None] for image in images if isinstance(image, DecodedImage)]
    assert len(pixels) == count, "what was written can be read"
    times: dict[str, list[float]] = {name: [] for name in ("decode", "bare", *FORMATS)}
    fused: dict[str, list[float]] = {name: [] for name in FORMATS}
    bounds: dict[str, list[float]] = {name: [] for name in FORMATS}  # onnxruntime alone, before and after each format
    stages: list[float] = []
    decode = partial(seconds_for, partial(read_image, spec=preprocess), files["jpeg"])
    run = partial(seconds_for, bare, pixels)

    def stages_of(path: Path) -> None:
        image = read_image(path, preprocess)
        assert isinstance(image, DecodedImage), "what was written can be read"
        bare(image.pixels[None])

    for number in range(rounds + 1):
        around, decodes, measured, both = [run()], [decode()], dict[str, float](), dict[str, float]()
        for name in FORMATS:
            measured[name] = score_once(setting, engine, setting.root / name, number)
            both[name] = seconds_for(stages_of, files[name])
            around.append(run())
            if name == "jpeg":
                decodes.append(decode())
        if number:  # the first round warms up
            for name, (before, after) in zip(FORMATS, pairwise(around), strict=True):
                times[name].append(measured[name])
                fused[name].append(both[name])
                bounds[name].append((before + after) / 2)
            times["bare"] += around
            times["decode"] += decodes
            stages.append(bounds["jpeg"][-1] + mean(decodes))
    ratios = {"end_to_end_over_stage_sum": median_ratio(stages, times["jpeg"])}
    ratios |= {f"end_to_end_over_bare_ort_{name}": median_ratio(bounds[name], times[name]) for name in FORMATS}
    rates = ", ".join(f"{name} {count / median(seconds):.1f}" for name, seconds in times.items())
    told = [f"Images/s of {WORKERS} threads, medians of {rounds} rounds of {count}: {rates}."]
    spread = sorted(bound / seconds for bound, seconds in zip(stages, times["jpeg"], strict=True))
    told.append(f"The rounds' ratios to the stage sum lie between {spread[0]:.2f} and {spread[-1]:.2f}.")
    alone = ", ".join(f"{name} {median_ratio(fused[name], times[name]):.2f}" for name in FORMATS)
    told.append(f"Over decoding and onnxruntime in turn in one thread, with nothing of Linewise around them: {alone}.")
    bound = ", ".join(f"{name} {median_ratio(bounds[name], fused[name]):.2f}" for name in FORMATS)
    told.append(f"What those two make of onnxruntime alone: {bound}.")
    return ratios, told


def score_once(setting: Setting, engine: ScoringEngine, folder: Path, number: int) -> float:
    """Seconds from the folder's files to rows in a new database."""
    bundle = setting.deployment.bundle  # hashes every byte of it: no part of scoring
    gc.collect()
    with ResultStore(setting.root / f"{folder.name}-{number}.sqlite") as store:
        began = time.perf_counter()
        summary = score_images(bundle, engine, FolderSource(folder), store, workers=WORKERS)
        seconds = time.perf_counter() - began
        assert summary.counts.scored == summary.counts.found > 0, "every image was scored"
        return seconds


class BareRun:
    """Backbone and head as onnxruntime runs them, and nothing else."""

    def __init__(self, setting: Setting) -> None:
        deployment = setting.deployment
        cpu = ResolvedDevice(Device.CPU, "cpu")
        self._backbone = open_session(deployment.backbone.onnx_path.read_bytes(), cpu, threads=1)
        self._head = open_session(deployment.bundle.head_path.read_bytes(), cpu, threads=1)
        self._levels = [node.name for node in self._head.get_inputs()]

    def __call__(self, image_BHWC: NDArray[np.uint8]) -> None:
        """Run both on one image (1, H, W, 3)."""
        binding = self._backbone.io_binding()
        binding.bind_ortvalue_input("images", ort.OrtValue.ortvalue_from_numpy(image_BHWC))
        for node in self._backbone.get_outputs():
            binding.bind_output(node.name)
        self._backbone.run_with_iobinding(binding)
        levels = dict(zip([node.name for node in self._backbone.get_outputs()], binding.get_outputs(), strict=True))
        head = self._head.io_binding()
        for name in self._levels:
            head.bind_ortvalue_input(name, levels[name])
        for node in self._head.get_outputs():
            head.bind_output(node.name)
        self._head.run_with_iobinding(head)
