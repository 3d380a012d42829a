"""What an image looks like, as a whole: a few figures, taken of every image that is scored, and therefore cheap.

Only some rows are looked at: groups of four adjacent ones, evenly over the image, 128 to 255 rows in all. What hangs on
neighbours is asked within a group, so that detail keeps its scale at every size of the model. Of good images of real
lines the fineness differs by 0.01 from that of all rows (the median; at most 0.17), the shares by 0.03 at most.
Torch-free.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_GROUP, _ROWS = 4, 128
_BLACK, _WHITE = 8, 250
_EVEN = 2  # grey levels between the darkest and the brightest pixel of a row of one value
_TONES = 64


class Look(NamedTuple):
    """What an image looks like, as a whole.

    black, white: shares of its pixels. even: the share of rows, or of columns, of one value between them: no camera saw
    them, as they have no noise. cast: each colour's mean above the mean of all three, in units of that mean. fineness:
    the logarithm of how much the image changes from pixel to pixel for what it changes at half the size. half: grey
    values of the rows looked at, at half the size (h, w). tones: the shares of its pixels in 64 equal ranges of grey.
    """

    black: float
    white: float
    even: float
    cast: tuple[float, float, float]
    fineness: float
    half: NDArray[np.uint8]
    tones: NDArray[np.float32]


def look_of(pixels: NDArray[np.uint8]) -> Look:
    """The look of uint8 RGB pixels (H, W, 3)."""
    groups = _groups(pixels)
    grey = _grey(groups)
    rows = grey.reshape(-1, pixels.shape[1])
    half = cv2.resize(rows, (rows.shape[1] // 2, rows.shape[0] // 2), interpolation=cv2.INTER_AREA)
    half = half.astype(np.uint8, copy=False)
    return Look(
        black=float(np.count_nonzero(grey <= _BLACK) / grey.size),
        white=float(np.count_nonzero(grey >= _WHITE) / grey.size),
        even=_even(rows, _WHITE),
        cast=_cast(groups),
        fineness=_fineness(grey, rows, half),
        half=half,
        tones=cv2.calcHist([half], [0], None, [_TONES], [0, 256]).ravel() / np.float32(half.size),
    )


def even_or_white(pixels: NDArray[np.uint8]) -> float:
    """As `Look.even`, white ones counted too: in less light they are grey, and still have no noise."""
    return _even(_grey(_groups(pixels)).reshape(-1, pixels.shape[1]), 256)


def _groups(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The rows that are looked at, a group in each row (N, 4 W, 3): a view."""
    height, width = pixels.shape[:2]
    every = _GROUP * max(1, height // _ROWS)
    count = height // every
    return pixels[: count * every].reshape(count, every * width, 3)[:, : _GROUP * width]


def _grey(groups: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.cvtColor(groups, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _cast(groups: NDArray[np.uint8]) -> tuple[float, float, float]:
    red, green, blue, _ = cv2.mean(groups)
    mean = (red + green + blue) / 3
    scale = mean + 12  # a dark image's colours are noise
    return (red - mean) / scale, (green - mean) / scale, (blue - mean) / scale


def _fineness(grey: NDArray[np.uint8], rows: NDArray[np.uint8], half: NDArray[np.uint8]) -> float:
    """Of groups (N, 4 W), the same as rows (4 N, W), and at half the size (2 N, W / 2)."""
    width, narrow = rows.shape[1], half.shape[1]
    inner = cv2.Laplacian(rows, cv2.CV_16S).reshape(grey.shape)[:, width:-width]  # the outer rows' neighbours lie afar
    pairs = half.reshape(len(grey), 2 * narrow)
    down = 2 * cv2.norm(pairs[:, :narrow], pairs[:, narrow:], cv2.NORM_L1)
    across = cv2.norm(half[:, 1:], half[:, :-1], cv2.NORM_L1)
    fine = cv2.norm(inner, cv2.NORM_L1) / inner.size
    return math.log((fine + 0.5) / ((down + across) / half.size + 0.5))  # a grey level is noise


def _even(rows: NDArray[np.uint8], below: int) -> float:
    """The share of rows, or of columns if it is larger, whose values differ by less than noise does.

    Black ones do not count, nor those of `below` and more: a background may well be without noise there.
    """
    shares: list[float] = []
    for axis, seen in ((0, rows), (1, rows[::2])):
        highest, lowest = seen.max(axis), seen.min(axis)
        even = (highest - lowest <= _EVEN) & (highest > _BLACK) & (lowest < below)
        shares.append(float(np.count_nonzero(even) / even.size))
    return max(shares)
