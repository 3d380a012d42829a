"""Two looks at an image: a cheap one at a small input size, the line's own where that leaves doubt. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.engine.batches import padded
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import ImageScore, Scores
from pipeline.features import Levels
from pipeline.first_look import FirstLook
from pipeline.imaging.resizing import resize
from pipeline.tile_grid import TileGrid


@dataclass(frozen=True)
class _SettledScore(ImageScore):
    """What the first look settled: score and map are its own, on the scale of the second look's."""

    look: FirstLook

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """(H, W) of the first look's finest grid."""
        return self.look.map_as_second(super().anomaly_map)

    @property
    def at_first_look(self) -> bool:
        return True

    @property
    def distance(self) -> float | None:
        """None: its bound is the first look's, and the image is within it."""
        return None


class TwoLooksEngine:
    """Scores images of lines with a first look as `ScoringEngine` does others: safe to call from many threads.

    What the second look sees is shrunk for the first, so that an image is decoded once.

    Args:
        first: of the smaller input size.
        second: of the lines' own.
    """

    def __init__(self, first: ScoringEngine, second: ScoringEngine) -> None:
        self._first, self._second = first, second
        self._looks: dict[str, FirstLook] = {}

    def add_first_look(self, name: str, path: Path, sha256: str, look: FirstLook) -> None:
        """Register the first look of a line whose own head the second engine has under that name.

        Raises:
            BundleError: as `ScoringEngine.add_head` says.
        """
        self._first.add_head(name, path, sha256)
        self._looks[name] = look

    def remove_head(self, name: str) -> None:
        """Forget both of a line's heads; unknown names are forgotten already."""
        self._first.remove_head(name)
        self._second.remove_head(name)
        self._looks.pop(name, None)

    def score_mixed(self, names: Sequence[str], images_BHWC: NDArray[np.uint8], /) -> Scores:
        """As `ScoringEngine.score_mixed`, of images at the second look's size."""
        size = self._first.spec.size
        small = np.stack([first_view(image, size.height, size.width) for image in images_BHWC])
        looks = [self._looks[name] for name in names]
        found = [
            _settled(scored, look) if look.settles(scored.score, scored.distance) else None
            for scored, look in zip(self._first.score_mixed(names, small), looks, strict=True)
        ]
        doubtful = [place for place, settled in enumerate(found) if settled is None]
        if doubtful:
            rows = images_BHWC[doubtful]
            if len(images_BHWC) > 1:  # of few shapes, see `padded`
                rows = padded(rows, min(1 << (len(rows) - 1).bit_length(), len(images_BHWC)))
            second = self._second.score_mixed([names[place] for place in doubtful], rows)
            for place, scored in zip(doubtful, second, strict=True):
                found[place] = scored
        return Scores(scored for scored in found if scored is not None)

    def features(self, image_HWC: NDArray[np.uint8], tiles: TileGrid | None = None) -> Levels:
        """What the second look's backbone sees in one image; see `ScoringEngine.features`."""
        return self._second.features(image_HWC, tiles)


def first_view(image_HWC: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """An image at the second look's size as the first look sees it, uint8 RGB (height, width, 3)."""
    return resize(image_HWC, height, width).astype(np.uint8, copy=False)


def _settled(scored: ImageScore, look: FirstLook) -> ImageScore:
    return _SettledScore(look.as_second(scored.score), scored.run, scored.row, look)
