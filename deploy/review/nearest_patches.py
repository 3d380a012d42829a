"""The strongest cell of an image, and beside it the patch of a good image that the memory bank compared it with.

Scoring notes neither: the image is scored once more, on the CPU, when the page asks, and both are cut out as the model
sees them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from deploy.reports.gallery import SupportView, nearest_good
from deploy.reports.overlay import crop_patch, encode_jpeg, worst_cell
from deploy.results.schema import ResultRow
from deploy.scoring.pictures import support_view
from pipeline.errors import LinewiseError
from pipeline.imaging.images import UnreadableImage, read_image
from pipeline.settings import Device

_BUNDLES = 2  # open at a time: each holds a session of its backbone
_KEPT = 48
_GAP = 8
_GREY = 160  # in place of a good patch whose picture the bundle does not keep


class _Opened:
    """A version that can say what it compared with."""

    def __init__(self, registry: Registry, line: str, version: str) -> None:
        deployment = registry.deployment(line, version)
        self.bundle: Bundle = deployment.bundle
        self.sources = deployment.bundle.bank_sources()
        self.view: SupportView = support_view(deployment.bundle)
        self.engine = ScoringEngine(deployment.backbone, Device.CPU, threads=1)
        self.engine.add_head(line, self.bundle.head_path, self.bundle.head_sha256, tiles=self.bundle.manifest.tiles)


class NearestPatches:
    """Makes the pictures and keeps the last of them, one at a time. Its methods may be called from any thread.

    Args:
        registry: has the versions.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._opened: OrderedDict[tuple[str, str], _Opened] = OrderedDict()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def picture(self, result: ResultRow) -> bytes | None:
        """A JPEG of both side by side; None: the file or the version has gone."""
        with self._lock:
            if result.id not in self._kept:
                try:
                    made = self._make(result)
                except LinewiseError:
                    return None
                if made is None:
                    return None
                self._kept[result.id] = made
            for kept, most in ((self._kept, _KEPT), (self._opened, _BUNDLES)):
                while len(kept) > most:
                    kept.popitem(last=False)
            return self._kept[result.id]

    def _make(self, result: ResultRow) -> bytes | None:
        opened = self._open(result.line, result.bundle_version)
        image = read_image(Path(result.image_path), opened.bundle.manifest.preprocess)
        if isinstance(image, UnreadableImage) or image.sha256 != result.image_sha256 or opened.sources is None:
            return None
        (scored,) = opened.engine.score_mixed([result.line], image.pixels[None])
        nearest = scored.nearest
        grid = (int(nearest.shape[0]), int(nearest.shape[1]))
        row, column = worst_cell(scored.anomaly_map, grid)
        worst = crop_patch(image.pixels, row, column, grid)
        source = nearest_good(nearest, opened.sources, row, column)
        good = None if source is None else opened.view(source.image, source.augmentation)
        if source is None or good is None:
            patch = np.full_like(worst, _GREY)
        else:
            patch = crop_patch(good, source.row, source.col, grid)
        return encode_jpeg(_side_by_side(worst, patch), quality=90)

    def _open(self, line: str, version: str) -> _Opened:
        key = (line, version)
        if key not in self._opened:
            self._opened[key] = _Opened(self._registry, line, version)
        self._opened.move_to_end(key)
        return self._opened[key]


def _side_by_side(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gap = np.full((one.shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([one, gap, other], axis=1)
