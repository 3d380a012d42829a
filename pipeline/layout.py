"""Whether all images of a line show one picture: parts that lie alike before a camera that stays where it is.

An image is reduced to a thumbnail of 16 x 16 grey values and correlated with the mean of the support's. Where each
good image correlates strongly with the mean of the others, one that hardly does shows another scene: a moved camera, a
part that is turned, another product. A defect changes a few of the 256 values. Boards cut from anywhere, textures and
parts at any angle correlate with nothing, and have no layout (`benchmarks/unlike.md`). Torch-free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 16
_ALIKE, _LEAST = 0.6, 0.4
"""The least correlation of good images that makes a layout, and the share of it that others need: good images of real
lines had 0.77 of it or more."""
_IMAGES = 4  # fewer may lie alike by chance
_CONTRAST = 20  # of a thumbnail, added to its own: what has next to none correlates with nothing


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The picture that a line's images show.

    Args:
        thumbnail: mean of the support's, row by row, a signed byte a pixel, in hexadecimal digits.
        least: smallest correlation with it.
    """

    thumbnail: str
    least: float

    def fits(self, grey: NDArray[np.uint8]) -> bool:
        """Whether a grey image (H, W) shows it."""
        return self.correlation(grey) >= self.least

    def correlation(self, grey: NDArray[np.uint8]) -> float:
        """Of a grey image (H, W) with the thumbnail, -1 to 1."""
        return float(_thumbnail(grey) @ self._mean)

    @cached_property
    def _mean(self) -> NDArray[Any]:
        """Of length 1."""
        mean = np.frombuffer(bytes.fromhex(self.thumbnail), np.int8).astype(np.float32)
        return mean / np.linalg.norm(mean)


def layout_of(good: Sequence[NDArray[np.uint8]], defective: Sequence[NDArray[np.uint8]]) -> Layout | None:
    """The layout of a support's grey images (H, W) each; None: its good ones do not show one picture.

    No defective one is beyond the bound.
    """
    if len(good) < _IMAGES:
        return None
    each = np.stack([_thumbnail(grey) for grey in good])
    total = each.sum(0)
    others = total - each
    alone = float(((each * others).sum(1) / np.maximum(np.linalg.norm(others, axis=1), 1e-6)).min())
    if alone < _ALIKE:
        return None
    layout = Layout(thumbnail=np.rint(total * 127 / np.abs(total).max()).astype(np.int8).tobytes().hex(), least=0.0)
    of_defects = (layout.correlation(grey) for grey in defective)
    return Layout(thumbnail=layout.thumbnail, least=min(_LEAST * alone, *of_defects, 1.0))


def _thumbnail(grey: NDArray[np.uint8]) -> NDArray[Any]:
    """Of length 1 or less, its mean 0."""
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).ravel().astype(np.float32)
    small -= small.mean()
    return small / (np.linalg.norm(small) + _CONTRAST)
