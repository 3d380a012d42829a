"""What a head said of an image's tiles, as if it had said it of the image. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.scores import HeadRun, ImageScore
from pipeline.tile_grid import TileGrid

TILES_AT_ONCE = 16
"""On an accelerator: a fixed number, so that it prepares itself once, however many tiles images have."""
TILES_IN_FLIGHT = 2
"""Such batches on an accelerator at a time, however many threads have images: its memory is theirs together."""


def joined_score(tiles: TileGrid, scores: Sequence[ImageScore]) -> ImageScore:
    """The image's score from those of its tiles, row by row.

    Its score is the largest, its map and the matched rows lie over the whole image, and its distance to the support is
    the tiles' mean. It can be judged only where each of them can.
    """
    each = [score.score for score in scores]
    if not all(map(math.isfinite, each)):
        each = [math.inf if math.inf in each else math.nan]
    distances = [score.distance for score in scores if score.distance is not None]
    run = HeadRun(
        np.array([max(each)], np.float32),
        _Joined(lambda: tiles.largest([score.anomaly_map for score in scores])),
        _Joined(lambda: tiles.innermost([score.nearest for score in scores])),
        all(score.run.covers_map for score in scores),
        np.array([np.mean(distances)], np.float32) if distances else None,
    )
    return next(run.images())


class _Joined:
    """An output of one image, joined when it is first asked for. Takes no lock, as `LeftInPlace`."""

    __slots__ = ("_join", "_joined")

    def __init__(self, join: Callable[[], NDArray[Any]]) -> None:
        self._join: Callable[[], NDArray[Any]] | None = join
        self._joined: NDArray[Any] | None = None

    def numpy(self) -> NDArray[Any]:
        """(1, H, W)."""
        join = self._join
        if join is not None:
            self._joined = join()[None]
            self._join = None  # lets go of the tiles
        assert self._joined is not None
        return self._joined
