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

Shape letters: N and M images, T the thumbnail's side, P = T * T.
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
_MOST_IMAGES = 5000  # of more the first are judged: the time goes with the square
_SAMPLED = 512  # images that tell what is near
_BLOCK = 64
_ALL = slice(None)
_COMBINED = 1e-4  # of a derivative's size: with less left of it, it is a combination of others and rounding


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of an RGB image (H, W, 3): grey (T, T)."""
    small = cv2.resize(pixels, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.uint8)


def repeated(thumbnails_NTT: NDArray[Any], known_MTT: NDArray[Any] | None = None) -> NDArray[np.bool_]:
    """Which images show a part that an earlier one shows, or one that is known.

    Args:
        thumbnails_NTT: grey, of one line, all of one depth.
        known_MTT: of parts that are known, of the same line and depth; None: of none. They are not judged.

    Returns:
        (N,) bool; never the first where none is known.
    """
    known = [] if known_MTT is None else _that_show_something(known_MTT)
    judged = _that_show_something(thumbnails_NTT[:_MOST_IMAGES])
    again = np.zeros(len(thumbnails_NTT), np.bool_)
    if not judged or len(known) + len(judged) < _LEAST_IMAGES:
        return again
    images = _Images(np.stack([image for _, image in (*known, *judged)]))
    limit = _limit(images)
    kept = np.zeros(len(images), np.bool_)
    kept[: len(known)] = True
    for start in range(len(known), len(images), _BLOCK):
        stop = min(start + _BLOCK, len(images))
        for image, left in enumerate(images.left_by(images[start:stop], slice(stop)), start):
            earlier = np.flatnonzero(kept[:stop] & (left <= limit))
            kept[image] = not any(_show_one_part(images[one], images[image], limit) for one in earlier.tolist())
    again[[place for place, _ in judged]] = ~kept[len(known) :]
    return again


class _Images:
    """Blurred images (N, T, T), less their means."""

    def __init__(self, images_NTT: NDArray[np.float32]) -> None:
        self._images_NTT = images_NTT
        self._flat_NP = images_NTT.reshape(len(images_NTT), -1)
        self._squares_N = np.vecdot(self._flat_NP, self._flat_NP)

    def __len__(self) -> int:
        return len(self._images_NTT)

    def __getitem__(self, which: int | slice | NDArray[np.int_]) -> NDArray[np.float32]:
        return self._images_NTT[which]

    def left_by(self, by_MTT: NDArray[np.float32], of: slice | NDArray[np.int_] = _ALL) -> NDArray[np.float32]:
        """(M, N): what is left of images once others explain them, grey levels root mean square."""
        flat = self._flat_NP[of]
        explained = np.square(_bases(by_MTT).reshape(-1, flat.shape[1]) @ flat.T).reshape(len(by_MTT), 3, -1).sum(1)
        return np.sqrt(np.maximum(self._squares_N[of] - explained, 0) / flat.shape[1])


def _that_show_something(thumbnails_NTT: NDArray[Any]) -> list[tuple[int, NDArray[np.float32]]]:
    """Places and blurred images (T, T), less their means, of those thumbnails that are not flat."""
    blurred = (cv2.GaussianBlur(image.astype(np.float32), (0, 0), _BLUR) for image in thumbnails_NTT)
    return [(place, image - image.mean()) for place, image in enumerate(blurred) if image.std() >= _FLAT]


def _limit(images: _Images) -> float:
    """What is left between two images of one part, at most: a share of what is left between near ones."""
    sampled = np.linspace(0, len(images) - 1, min(len(images), _SAMPLED)).astype(int)
    left = np.empty((len(sampled), len(images)), np.float32)
    for start in range(0, len(sampled), _BLOCK):
        left[start : start + _BLOCK] = images.left_by(images[sampled[start : start + _BLOCK]])
    for start in range(0, len(images), _BLOCK):
        others = slice(start, start + _BLOCK)
        np.maximum(left[:, others], images.left_by(images[others], sampled).T, out=left[:, others])
    nearest = 1 + round(_NEAR * (len(images) - 2))  # behind the image itself, from which nothing is left
    return _SHARE * float(np.median(np.partition(left, nearest, axis=1)[:, nearest]))


def _show_one_part(one_TT: NDArray[np.float32], other_TT: NDArray[np.float32], limit: float) -> bool:
    """Whether what is left of either image, once the other explains it, is small and stands out nowhere."""
    for explaining, explained in ((one_TT, other_TT), (other_TT, one_TT)):
        basis, flat = _bases(explaining[None])[0], explained.ravel()
        rest = flat - (basis @ flat) @ basis
        left = float(np.sqrt(np.square(rest).mean()))
        if left > limit or float(np.abs(rest).max()) > _PEAK * max(1e-6, left):
            return False
    return True


def _bases(images_NTT: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 3, P): orthonormal, of what an image, moved by a little and seen with another exposure, may look like.

    Gram and Schmidt's, in order: of what is a combination of those before, as along an axis that nothing changes
    along, nothing is left.
    """
    bases = np.stack([images_NTT, *np.gradient(images_NTT, axis=(1, 2))], 1).reshape(len(images_NTT), 3, -1)
    bases -= bases.mean(2, keepdims=True)
    sizes = np.linalg.norm(bases, axis=2)
    for row in range(3):
        for before in range(row):
            bases[:, row] -= np.vecdot(bases[:, row], bases[:, before])[:, None] * bases[:, before]
        left = np.linalg.norm(bases[:, row], axis=1)
        told = left > _COMBINED * sizes[:, row]
        bases[:, row] *= np.where(told, 1 / np.maximum(left, 1e-12), 0)[:, None]
    return bases
