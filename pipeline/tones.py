"""Whether an image's grey values are those of a line: by how bright its pixels are, wherever they lie.

A support's images say how large a share of an image may be of about a brightness: 30 % and 8 grey levels brighter or
darker are about the same, so that a lamp may age. What an image has beyond these shares is added up. Glare that turns a
board's black to grey is told by that, and so is a grey half of a frame. A board that is cut elsewhere has other shares
of black and white, hence the bound is wide, and wider for few images (`benchmarks/unlike.md`). Torch-free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_GAIN, _MORE = 1.3, 8
_BOUND, _FEW = 0.1, 0.3
"""At most 0.3 % of real lines' good images had more than 0.1 + 0.3 / K of their pixels beyond K images' shares."""


@dataclass(frozen=True, kw_only=True)
class Tones:
    """The grey values of a line's images.

    Args:
        known: for 64 ranges of grey, the largest share of an image about as bright, a byte each, in hexadecimal digits.
        most: largest share of an image that may lie beyond them.
    """

    known: str
    most: float

    @cached_property
    def _shares(self) -> list[float]:
        return [byte / 255 for byte in bytes.fromhex(self.known)]

    def strange(self, tones: NDArray[np.float32]) -> float:
        """The share of an image that lies beyond them; `tones` as in `pipeline.look.Look`."""
        pairs = zip(tones.tolist(), self._shares, strict=True)  # NumPy takes five times as long for 64 values
        return sum(share - known for share, known in pairs if share > known)


def tones_of(images: Sequence[NDArray[np.float32]]) -> Tones:
    """The grey values of a support's images, `tones` of each; none of them is beyond the bound."""
    each = np.stack(images).astype(np.float64)
    counts = each.shape[1]
    ends = np.concatenate([np.zeros((len(each), 1)), each.cumsum(1)], 1)
    low = np.arange(counts) * (256 / counts)
    high = low + 256 / counts
    first = np.floor((low / _GAIN - _MORE) * counts / 256).clip(0, counts).astype(int)
    last = np.ceil((high * _GAIN + _MORE) * counts / 256).clip(0, counts).astype(int)
    known = (ends[:, last] - ends[:, first]).max(0)
    return Tones(known=np.ceil(known.clip(0, 1) * 255).astype(np.uint8).tobytes().hex(), most=_BOUND + _FEW / len(each))
