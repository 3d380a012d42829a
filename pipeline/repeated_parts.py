"""Images that show a part again: a camera that took it twice, a belt that stood still, the frames of a video.

Such images vouch for each other. An image that is scored against all others still finds its own part among them and
scores next to nothing, so that a threshold set by such scores rejects parts that are really new: on a line of solar
cells 40 % of the good ones instead of 5 %, where each part of the production was seen five times
(`benchmarks/take_up.md`). And many such images promise what only as many parts could.

Two images show one part where nothing lies between them but exposure, contrast, a shift by a pixel or so, and noise:
what is left of either thumbnail, once the other and its derivatives along both axes are fitted to it (to first order a
shift is a sum of the derivatives: Lucas & Kanade, IJCAI 1981), is small, and stands out nowhere, as a scratch or a
label would. Small is meant beside what is left between an image and the tenth of the others that are nearest to it, as
the middle one of the images has it: not beside what is left between any two, since parts that differ by little more
than noise, but lie in several poses or are of several kinds, are no repetitions of one another; and of the images, not
of all pairs, since one part that is shown again and again makes up most of these.

So repetitions are not found where one part is shown by half of the images or more, nor where there are less than ten
parts or so; nor of parts that were turned or moved between. Parts of ten kinds or more are taken for repetitions where
they differ from others of their kind by a tenth of what kinds differ by, and evenly all over the image. Torch-free.

Shape letters: N images, T the thumbnail's side, P = T * T.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.product_lines.near_duplicates import THUMBNAIL_SIDE

_NEAR = 0.1  # of the other images: the nearest, of which the farthest one tells how near parts are
_SHARE = 0.12
"""Of what is left between near images. Images of 13 real lines that were given other noise, another exposure, JPEG or a
shift by 1 of 256 pixels had less, but for some that were overexposed by it; different parts had 0.17 or more, but for
circuit boards whose pictures overlap."""
_PEAK = 10.0
"""What is left of a pixel, in units of what is left on the mean (root mean square): the same images had 4 to 6, shifted
by a pixel up to 10, some cut off by exposure 16; a spot of 10 of 256 pixels has 20."""
_FLAT = 1.0  # grey levels, standard deviation of a thumbnail: with less it shows nothing that could be a part again
_BLUR = 0.8  # of a thumbnail's pixels: what derivatives explain of a shift grows from half a pixel to a whole one
_LEAST_IMAGES = 8  # with fewer nobody can tell what is near
_MOST_IMAGES = 5000  # of more the first are judged: the memory goes with the square
_SAMPLED = 512  # images that tell what is near
_BLOCK = 64


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of an RGB image (H, W, 3): grey (T, T)."""
    small = cv2.resize(pixels, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.uint8)


def repeated(thumbnails_NTT: NDArray[Any]) -> NDArray[np.bool_]:
    """Which images show a part that an earlier one shows.

    Args:
        thumbnails_NTT: grey, of one line, all of one depth.

    Returns:
        (N,) bool; never the first.
    """
    blurred = [cv2.GaussianBlur(image.astype(np.float32), (0, 0), _BLUR) for image in thumbnails_NTT[:_MOST_IMAGES]]
    places = [place for place, image in enumerate(blurred) if image.std() >= _FLAT]
    again = np.zeros(len(thumbnails_NTT), np.bool_)
    if len(places) < _LEAST_IMAGES:
        return again
    images = np.stack([blurred[place] - blurred[place].mean() for place in places])
    left = _left_between(images)
    sampled = np.linspace(0, len(left) - 1, min(len(left), _SAMPLED)).astype(int)
    nearest = 1 + round(_NEAR * (len(left) - 2))  # behind the image itself, from which nothing is left
    limit = _SHARE * float(np.median(np.partition(left[sampled], nearest, axis=1)[:, nearest]))
    kept = np.zeros(len(left), np.bool_)
    for image in range(len(left)):
        earlier = np.flatnonzero(kept & (left[image] <= limit))
        kept[image] = all(_peak_between(images[one], images[image]) > _PEAK for one in earlier)
    again[places] = ~kept
    return again


def _left_between(images_NTT: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, N): what is left between two images, grey levels root mean square, by the one that leaves more."""
    flat = images_NTT.reshape(len(images_NTT), -1)
    squares = np.square(flat).sum(1)
    left = np.empty((len(flat), len(flat)), np.float32)
    for start in range(0, len(flat), _BLOCK):
        bases = _bases(images_NTT[start : start + _BLOCK])
        explained = np.square(np.einsum("bpr,np->bnr", bases, flat, optimize=True)).sum(2)
        left[start : start + _BLOCK] = np.sqrt(np.maximum(squares - explained, 0) / flat.shape[1])
    np.maximum(left, left.T.copy(), out=left)
    np.fill_diagonal(left, 0)
    return left


def _peak_between(one_TT: NDArray[np.float32], other_TT: NDArray[np.float32]) -> float:
    """How far what is left between two images stands out where it is most: in units of its root mean square."""
    peaks = []
    for explaining, explained in ((one_TT, other_TT), (other_TT, one_TT)):
        basis, flat = _bases(explaining[None])[0], explained.ravel()
        rest = flat - basis @ (basis.T @ flat)
        peaks.append(float(np.abs(rest).max() / max(1e-6, np.sqrt(np.square(rest).mean()))))
    return max(peaks)


def _bases(images_NTT: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, P, 3): orthonormal, of what an image, moved by a little and seen with another exposure, may look like."""
    explaining = np.stack([images_NTT, *np.gradient(images_NTT, axis=(1, 2))], 3).reshape(len(images_NTT), -1, 3)
    return np.linalg.qr(explaining - explaining.mean(1, keepdims=True))[0]
