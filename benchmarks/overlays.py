"""What the pictures of flagged images cost, drawn by the worker that scored the image or by a thread of their own.

    python -m benchmarks.overlays [--images 200] [--rounds 3]

Scores the same 1-Mpx JPEGs again and again in one process, the variants in turn, each with an empty result store. Which
images count as flagged is decided here, not by the model, so that a variant is exact: none, every tenth, all.
"""

from __future__ import annotations

import argparse
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deploy.bundles.registry import Registry
from deploy.engine.limits import available_cpus
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import Scores
from deploy.results.store import ResultStore
from deploy.scoring.scorer import score_images
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.worker import ScoringWorker
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from pipeline.process_tuning import tune_process
from pipeline.settings import load_settings
from pipeline.synthetic.lines import write_line

LINE = "overlays"
SIDE = 1000


class FlagSome:
    """An engine whose every n-th image is far above the threshold, the others far below; 0: none."""

    def __init__(self, engine: ScoringEngine, every: int) -> None:
        self.engine, self.every, self.count = engine, every, 0

    def score(self, name: str, images_BHWC: NDArray[np.uint8], /) -> Scores:
        scores = self.engine.score(name, images_BHWC)
        self.count += 1
        flagged = self.every > 0 and self.count % self.every == 0
        return Scores(replace(image, score=1e6 if flagged else -1e6) for image in scores)


@contextmanager
def background() -> Iterator[None]:
    """Overlays drawn by one thread behind a queue of 32."""
    inline = ScoringWorker._write_overlay
    waiting: queue.Queue[tuple[Any, ...] | None] = queue.Queue(32)

    def draw() -> None:
        while (task := waiting.get()) is not None:
            inline(*task)

    def put(worker: ScoringWorker, image: Any, anomaly_map: NDArray[np.float32], folder: Path) -> Path:
        waiting.put((worker, image, anomaly_map, folder))
        return folder / f"{image.sha256}.jpg"

    thread = threading.Thread(target=draw)
    thread.start()
    ScoringWorker._write_overlay = put
    try:
        yield
    finally:
        ScoringWorker._write_overlay = inline
        waiting.put(None)
        thread.join()


@contextmanager
def inline() -> Iterator[None]:
    yield


VARIANTS = {
    "none flagged": (0, inline),
    "every tenth, by the worker": (10, inline),
    "every tenth, by a thread": (10, background),
    "all, by the worker": (1, inline),
    "all, by a thread": (1, background),
}


def write_images(sources: Sequence[Path], folder: Path, count: int) -> None:
    """The line's own parts, good and defective, enlarged; no two of the same content."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(count):
        part = cv2.imread(str(sources[index % len(sources)]))
        assert part is not None
        image = cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        image[:8, :8] = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index:04}.jpg"), image)


def main() -> None:
    tune_process()
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        settings = load_settings(root / "home")
        line = write_line(root, 7, good=5, test_good=2, defects=4)
        request = AdaptRequest(line=LINE, images=line, learner=LearnerName.MEMORY_BANK, good=4, defects=0)
        version = adapt.run(request, settings).bundle.manifest.version
        deployment = Registry(settings.home).deployment(LINE, version)
        engine = ScoringEngine(deployment.backbone, "cpu", threads=1)
        engine.add_head(LINE, deployment.bundle.head_path)
        write_images(sorted((line / "test").rglob("*.png")), root / "images", options.images)
        seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        cpu: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        for number in range(options.rounds):
            for index, (variant, (every, how)) in enumerate(VARIANTS.items()):
                with ResultStore(root / f"{number}-{index}.sqlite") as store:
                    began, used = time.perf_counter(), time.process_time()
                    with how():
                        score_images(
                            deployment.bundle,
                            FlagSome(engine, every),
                            FolderSource(root / "images"),
                            store,
                            overlays=root / "overlays",
                        )
                    seconds[variant].append(time.perf_counter() - began)
                    cpu[variant].append(time.process_time() - used)
        workers = available_cpus()
        print(f"{options.images} JPEGs of {SIDE} x {SIDE}, {workers} workers, median of {options.rounds} rounds")
        print("| flagged | CPU ms an image | over none | wall over none |\n|---|---|---|---|")
        base, base_wall = (statistics.median(found["none flagged"]) for found in (cpu, seconds))
        for variant in VARIANTS:
            used, took = statistics.median(cpu[variant]), statistics.median(seconds[variant])
            each = 1000 * used / options.images
            print(f"| {variant} | {each:.2f} | {used / base:.3f} | {took / base_wall:.3f} |")


if __name__ == "__main__":
    main()
