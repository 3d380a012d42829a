"""What a worker thread does with a few files: decode, score, decide, and draw what was flagged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.reports.overlay import overlay_jpeg
from deploy.results.store import ResultStore, StoredScore
from deploy.scoring.records import FileStatus, ImageResult, ImageView
from deploy.storage import replace_file, storage_errors
from pipeline.calibration import Decision
from pipeline.errors import ImageError
from pipeline.imaging.images import DecodedImage, ImageLimits, UnreadableImage, read_image, read_native, sha256_file


class HeadScores(Protocol):
    """What an engine says about B images; `deploy.engine.runtime.Scores` is one."""

    @property
    def image_score(self) -> NDArray[np.float32]:
        """(B,), higher is more anomalous."""
        ...

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """(B, h, w)."""
        ...

    @property
    def nearest(self) -> NDArray[np.int64]:
        """(B, rows, columns) of the coarsest grid: the bank row each cell was compared with."""
        ...


class ImageScorer(Protocol):
    """What scoring needs of an engine, as `deploy.engine.runtime.ScoringEngine` has it. Threads call it together."""

    def score(self, name: str, images_BHWC: NDArray[np.uint8], /) -> HeadScores:
        """Score uint8 RGB images (B, H, W, 3) with the head `name`."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A file's result; its view, when it was scored; the row it was found in, when it was skipped."""

    result: ImageResult
    view: ImageView | None = None
    stored: StoredScore | None = None


@dataclass(frozen=True, kw_only=True)
class ScoringWorker:
    """Scores files. Holds no state, so that every thread shares one.

    Args:
        bundle: whose preprocessing and threshold hold.
        engine: has the head.
        head: its name there.
        known: where to look for contents scored before; None: nowhere, nothing was.
        batch_size: images scored at once.
        overlays: folder for the pictures of flagged images; None: none.
        limits: on the size of images.
    """

    bundle: Bundle
    engine: ImageScorer
    head: str
    known: ResultStore | None
    batch_size: int
    overlays: Path | None
    limits: ImageLimits

    def score(self, paths: Sequence[Path]) -> list[Outcome]:
        """Score at most `batch_size` files.

        Raises:
            StorageError: an overlay cannot be written, or the store cannot be read.
        """
        prepared = [self._prepare(path) for path in paths]
        decoded = [image for image in prepared if isinstance(image, DecodedImage)]
        scored = iter(self._score(decoded))
        return [next(scored) if isinstance(image, DecodedImage) else image for image in prepared]

    def _prepare(self, path: Path) -> DecodedImage | Outcome:
        if (skipped := self._find(path)) is not None:
            return skipped
        image = read_image(path, self.bundle.manifest.preprocess, self.limits)
        if isinstance(image, UnreadableImage):
            status = FileStatus.UNREADABLE
            return Outcome(ImageResult(path=path, sha256=image.sha256, status=status, reason=image.reason))
        return image

    def _find(self, path: Path) -> Outcome | None:
        """What the store knows of this content. Hashing a file costs a fiftieth of decoding and scoring it."""
        if self.known is None:
            return None
        try:
            if not path.is_file() or path.stat().st_size > self.limits.max_bytes:
                return None  # reading it will say what is wrong, and a pipe must not be waited for
            sha256 = sha256_file(path)
        except OSError:
            return None  # likewise
        stored = self.known.find(self.bundle, sha256)
        if stored is None:
            return None
        result = ImageResult(
            path=path,
            sha256=sha256,
            status=FileStatus.SKIPPED,
            score=stored.score,
            decision=stored.decision,
            overlay_path=Path(stored.overlay_path) if stored.overlay_path else None,
        )
        return Outcome(result, stored=stored)

    def _score(self, images: Sequence[DecodedImage]) -> list[Outcome]:
        if not images:
            return []
        pixels = np.stack([image.pixels for image in images])
        if len(images) < self.batch_size:  # one shape: an accelerator prepares itself anew for each other
            padding = np.zeros((self.batch_size - len(images), *pixels.shape[1:]), dtype=np.uint8)
            pixels = np.concatenate([pixels, padding])
        scores = self.engine.score(self.head, pixels)
        return [
            self._decide(image, float(scores.image_score[i]), scores.anomaly_map[i], scores.nearest[i])
            for i, image in enumerate(images)
        ]

    def _decide(
        self, image: DecodedImage, score: float, anomaly_map: NDArray[np.float32], nearest: NDArray[np.int64]
    ) -> Outcome:
        finite = math.isfinite(score) and bool(np.isfinite(anomaly_map).all())
        if finite:
            decision = self.bundle.manifest.threshold.decide(score)
        else:  # a part the model cannot judge never passes
            decision = Decision.REJECT if score == math.inf else Decision.REVIEW
        overlay = None
        if finite and decision is not Decision.PASS and self.overlays is not None:
            overlay = self._write_overlay(image, anomaly_map, self.overlays)
        result = ImageResult(
            path=image.path,
            sha256=image.sha256,
            status=FileStatus.SCORED,
            score=score if finite else None,
            decision=decision,
            reason=None if finite else "the model gave no finite score",
            overlay_path=overlay,
        )
        return Outcome(result, ImageView(image.pixels, anomaly_map, nearest) if finite else None)

    def _write_overlay(self, image: DecodedImage, anomaly_map: NDArray[np.float32], folder: Path) -> Path:
        manifest = self.bundle.manifest
        try:
            shown = read_native(image.path, self.limits, manifest.preprocess.white_level)
        except ImageError:
            shown = image.pixels  # the file has gone since it was scored; the model's own view is left
        picture = overlay_jpeg(shown, anomaly_map, manifest.threshold.pixel)
        path = folder / f"{image.sha256}.jpg"
        with storage_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, picture, durable=False)  # it can be drawn again
        return path
