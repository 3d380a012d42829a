"""A line that scores, its folder of images, and an engine that counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.bundles.packs import Deployment
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import Scores
from deploy.results.store import ResultStore
from deploy.scoring.image_result import ImageResult
from deploy.scoring.scorer import score_images
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.source import ImageSource
from deploy.scoring.tally import ScoringSummary
from deploy.scoring.worker import ImageScorer
from pipeline.features import Levels
from pipeline.tile_grid import TileGrid
from tests.parts.plant import write_plant

LINE = "mvtec/pill"


def score_folder(
    bundle: Bundle, engine: ImageScorer, folder: Path, store: ResultStore, **options: Any
) -> ScoringSummary:
    """Score every image file below a folder but its overlays."""
    return score_images(bundle, engine, FolderSource(folder, options.get("overlays")), store, **options)


@dataclass
class Plant:
    """A live line whose score is the brightest cell (REVIEW from 0.4, REJECT from 0.6), and a folder of images."""

    root: Path
    deployment: Deployment
    engine: ScoringEngine
    store: ResultStore

    @property
    def bundle(self) -> Bundle:
        return self.deployment.bundle

    @property
    def images(self) -> Path:
        return self.root / "images"

    def score(self, **options) -> ScoringSummary:
        options = {"workers": 2, **options}
        return score_folder(self.bundle, self.engine, self.images, self.store, **options)

    def score_source(self, source: ImageSource, **options) -> tuple[ScoringSummary, list[ImageResult]]:
        """Score another source; with every result in its order, unless the caller takes them itself."""
        seen: list[ImageResult] = []
        options = {"workers": 2, "on_result": lambda result, _: seen.append(result), **options}
        return score_images(self.bundle, self.engine, source, self.store, **options), seen


class CountingEngine:
    """The real engine, and how many images it was asked for; `before` runs first and may raise or wait."""

    def __init__(self, engine: ScoringEngine, before: Callable[[int], None] = lambda _: None) -> None:
        self.engine = engine
        self.before = before
        self.images = 0
        self.lock = threading.Lock()

    def score_mixed(self, names: Sequence[str], images_BHWC: NDArray[np.uint8], /) -> Scores:
        with self.lock:
            self.images += len(images_BHWC)
            count = self.images
        self.before(count)
        return self.engine.score_mixed(names, images_BHWC)

    def features(self, image_HWC: NDArray[np.uint8], tiles: TileGrid | None, /) -> Levels:
        return self.engine.features(image_HWC, tiles)


@contextmanager
def open_plant(root: Path) -> Iterator[Plant]:
    """A plant below `root`, without images yet."""
    deployment = write_plant(root / "home").deployment(LINE)
    engine = ScoringEngine(deployment.backbone, "cpu")
    engine.add_head(LINE, deployment.bundle.head_path, deployment.bundle.head_sha256)
    with ResultStore(root / "results.sqlite") as store:
        yield Plant(root, deployment, engine, store)
