"""What the pictures of flagged images cost, drawn by the worker that scored the image.

    python -m benchmarks.overlays [--images 200] [--rounds 3]

Scores the same 1-Mpx JPEGs again and again in one process, the variants in turn, each with an empty result store. Which
images count as flagged is decided here, not by the model, so that a variant is exact: none, every tenth, all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.deployments import deployed_line, engine_of
from benchmarks.study import options
from benchmarks.tables import table
from benchmarks.turns import in_turns
from deploy.bundles.packs import Deployment
from deploy.engine.limits import available_cpus
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import Scores
from deploy.results.store import ResultStore
from deploy.scoring.scorer import score_images
from deploy.scoring.sources.folder import FolderSource
from pipeline.features import Levels
from pipeline.process_tuning import tune_process
from pipeline.tile_grid import TileGrid

SIDE = 1000
NONE = "none"
EVERY = {NONE: 0, "every tenth": 10, "all": 1}


class FlagSome:
    """An engine whose every n-th image is far above the threshold, the others far below; 0: none."""

    def __init__(self, engine: ScoringEngine, every: int) -> None:
        self.engine, self.every, self.count = engine, every, 0

    def score_mixed(self, names: Sequence[str], images_BHWC: NDArray[np.uint8], /) -> Scores:
        """See `deploy.scoring.worker.ImageScorer`."""
        return Scores(replace(image, score=self._score()) for image in self.engine.score_mixed(names, images_BHWC))

    def features(self, image_HWC: NDArray[np.uint8], tiles: TileGrid | None = None) -> Levels:
        """See there."""
        return self.engine.features(image_HWC, tiles)

    def _score(self) -> float:
        self.count += 1
        return 1e6 if self.every > 0 and self.count % self.every == 0 else -1e6


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
    """Adapt a generated line, and time scoring with more and more pictures."""
    parser = options(__doc__, lines=False, page=False)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    tune_process()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        line = deployed_line(root)
        write_images(sorted((line.images / "test").rglob("*.png")), root / "images", asked.images)
        deployment = line.deployment
        engine = engine_of(deployment)
        sides = {flagged: partial(score_once, deployment, engine, root, every) for flagged, every in EVERY.items()}
        taken = in_turns(sides, asked.rounds)
    print(f"{asked.images} JPEGs of {SIDE} x {SIDE}, {available_cpus()} workers, median of {asked.rounds} rounds")
    cpu = {flagged: median(found.cpu for found in of) for flagged, of in taken.items()}
    wall = {flagged: median(found.wall for found in of) for flagged, of in taken.items()}
    rows = [
        [
            flagged,
            f"{1000 * cpu[flagged] / asked.images:.2f}",
            f"{cpu[flagged] / cpu[NONE]:.3f}",
            f"{wall[flagged] / wall[NONE]:.3f}",
        ]
        for flagged in EVERY
    ]
    print("\n".join(table(("flagged", "CPU ms an image", "over none", "wall over none"), rows)))


def score_once(deployment: Deployment, engine: ScoringEngine, root: Path, every: int, number: int) -> None:
    """The images into a new store, every n-th of them flagged."""
    with ResultStore(root / f"{every}-{number}.sqlite") as store:
        source = FolderSource(root / "images")
        score_images(deployment.bundle, FlagSome(engine, every), source, store, overlays=root / "overlays")


if __name__ == "__main__":
    main()
