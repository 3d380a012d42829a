"""Images that show a part again: a camera that took it twice, a belt that stood still, the frames of a video.

Such images vouch for each other. An image that is scored against all others still finds its own part among them and
scores next to nothing, so that a threshold set by such scores rejects parts that are really new: on a line of solar
cells 40 % of the good ones instead of 5 %, where each part of the production was seen five times
(`benchmarks/take_up.md`). And many such images promise what only as many parts could.

Two images show one part where nothing lies between them but exposure, contrast, a shift by a pixel or so, and noise:
what is left of either thumbnail, once the other and its derivatives along both axes are fitted to it (to first order a
shift is a sum of the derivatives: Lucas & Kanade, IJCAI 1981), is small beside what is left between images of the line
that are near each other. Near are the tenth of all pairs with the least between them, not half of them: parts that
differ by little more than noise, but lie in several poses or are of several kinds, are no repetition of one another.
So repetitions are not found where there are less than ten parts or so; nor are parts that were turned or moved between.
Torch-free.

Shape letters: N images, T the thumbnail's side, P = T * T.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64
_NEAR = 0.1  # of all pairs: those between which least is left
_SHARE = 0.12
"""Of what is left between near pairs. Images of 13 real lines that were given other noise, another exposure, JPEG or a
shift by 1 of 256 pixels had less, but for some that were overexposed by it; different parts had 0.17 or more, but for
circuit boards whose pictures overlap."""
_BLUR = 0.8  # of a thumbnail's pixels: what derivatives explain of a shift grows from half a pixel to a whole one
_LEAST_IMAGES = 8  # of fewer no tenth of the pairs can be taken
_BLOCK = 64


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of an RGB image (H, W, 3): grey (T, T)."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.uint8)


def repeated(thumbnails_NTT: NDArray[Any]) -> NDArray[np.bool_]:
    """Which images show a part that an earlier one shows.

    Args:
        thumbnails_NTT: grey, of one line, all of one depth.

    Returns:
        (N,) bool; never the first.
    """
    again = np.zeros(len(thumbnails_NTT), np.bool_)
    if len(thumbnails_NTT) < _LEAST_IMAGES:
        return again
    left = _left_between(thumbnails_NTT)
    pairs = left[np.triu_indices(len(left), 1)]
    limit = _SHARE * float(np.quantile(pairs, _NEAR))
    for image in range(1, len(left)):
        earlier = left[image, :image][~again[:image]]
        again[image] = bool((earlier <= limit).any())
    return again


def _left_between(thumbnails_NTT: NDArray[Any]) -> NDArray[np.float32]:
    """(N, N): what is left between two images, grey levels root mean square, by the one that leaves more."""
    images = np.stack([cv2.GaussianBlur(image.astype(np.float32), (0, 0), _BLUR) for image in thumbnails_NTT])
    images -= images.mean((1, 2), keepdims=True)
    flat = images.reshape(len(images), -1)
    squares = np.square(flat).sum(1)
    left = np.empty((len(images), len(images)), np.float32)
    for start in range(0, len(images), _BLOCK):
        few = images[start : start + _BLOCK]
        explaining = np.stack([few, *np.gradient(few, axis=(1, 2))], 3).reshape(len(few), flat.shape[1], 3)
        bases = np.linalg.qr(explaining - explaining.mean(1, keepdims=True))[0]
        explained = np.square(np.einsum("bpr,np->bnr", bases, flat, optimize=True)).sum(2)
        left[start : start + _BLOCK] = np.sqrt(np.maximum(squares - explained, 0) / flat.shape[1])
    return np.maximum(left, left.T)
