"""The same picture saved twice: re-encoded or resized copies, found by difference hash and confirmed by grey levels.

Shape letters: N and M images, T the thumbnail's side.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.encoded import EncodedImage, Pixels
from pipeline.imaging.orientation import turn_upright

THUMBNAIL_SIDE = 64
_HASH_SIDE = 16
_MAX_DIFFERENT_BITS = 48  # of 256; a copy in JPEG quality 60 changed up to 28 on the lines this was tried on
_MAX_GREY_LEVELS = 1.0  # the same copies differed by up to 0.7 on average
_FINE_SIDE = (
    200  # pixels; of fewer a thumbnail averages less of a JPEG's noise away: copies of 100 px differed by 1 to 2
)
_MAX_OF_SMALL = 2.0  # times as much is allowed where images are small
_MAX_GREY_LEVELS_ANYWHERE = 24  # and by up to 19 where they did most; what was marked on one differs more there
_MAX_SHARE_OF_MEDIAN = 0.25  # parts that all look alike differ by as little: a copy must stand out among the pairs
_SAMPLED_PAIRS = 4096


def thumbnail(pixels: Pixels, encoded: EncodedImage) -> Pixels:
    """A (T, T) grey thumbnail of decoded pixels, upright, at their own depth."""
    small = cv2.resize(pixels, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    if small.ndim == 3:
        colours = np.ascontiguousarray(small[:, :, :3])
        small = cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY if encoded.bgr else cv2.COLOR_RGB2GRAY)
    return turn_upright(small, encoded.orientation)


def find_near_duplicates(
    left_NTT: NDArray[np.uint8],
    right_MTT: NDArray[np.uint8],
    left_areas: Sequence[int],
    right_areas: Sequence[int],
) -> list[tuple[int, int, float]]:
    """Pairs (index in left, index in right, mean difference in grey levels) that show the same picture.

    Args:
        left_NTT: N thumbnails, 0..255.
        right_MTT: M thumbnails, 0..255.
        left_areas: pixels of the N images.
        right_areas: pixels of the M images.
    """
    if not len(left_NTT) or not len(right_MTT):
        return []
    stands_out = _MAX_SHARE_OF_MEDIAN * _median_difference(left_NTT, right_MTT)
    left_limits, right_limits = _limits(left_areas), _limits(right_areas)
    right_hashes, left_means, right_means = _hashes(right_MTT), _means(left_NTT), _means(right_MTT)
    pairs: list[tuple[int, int, float]] = []
    for left, left_hash in enumerate(_hashes(left_NTT)):
        limits = np.minimum(np.maximum(right_limits, left_limits[left]), stands_out)
        different_bits = np.bitwise_count(right_hashes ^ left_hash).sum(axis=1)
        # Means differ by no more than what they are of: parts that all have one hash are told apart at once.
        least_difference = np.abs(right_means - left_means[left]).mean(axis=1)
        for right in np.flatnonzero((different_bits <= _MAX_DIFFERENT_BITS) & (least_difference <= limits)):
            pair = left_NTT[left], right_MTT[right]
            difference = _difference(*pair)
            if difference <= limits[right] and cv2.norm(*pair, cv2.NORM_INF) <= _MAX_GREY_LEVELS_ANYWHERE:
                pairs.append((left, int(right), difference))
    return pairs


def _limits(areas: Sequence[int]) -> NDArray[np.float64]:
    """How much copies of images of such areas may differ on average, grey levels."""
    return _MAX_GREY_LEVELS * np.clip(_FINE_SIDE / np.sqrt(areas), 1.0, _MAX_OF_SMALL)


def _hashes(thumbnails_NTT: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(N, 4): whether each cell is brighter than its left neighbour, as 256 bits."""
    size = (_HASH_SIDE + 1, _HASH_SIDE)
    small = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in thumbnails_NTT])
    bits = (small[:, :, 1:] > small[:, :, :-1]).reshape(len(small), -1)
    return np.packbits(bits, axis=1).view(np.uint64)


def _means(thumbnails_NTT: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 64): the mean of each of eight by eight squares."""
    side = THUMBNAIL_SIDE // 8
    squares = thumbnails_NTT.reshape(-1, 8, side, 8, side)
    return squares.mean(axis=(2, 4), dtype=np.float32).reshape(-1, 64)


def _median_difference(left_NTT: NDArray[np.uint8], right_MTT: NDArray[np.uint8]) -> float:
    """How much a pair differs usually: the median over all pairs, or over an even sample of them."""
    count = len(left_NTT) * len(right_MTT)
    sampled = np.linspace(0, count - 1, min(count, _SAMPLED_PAIRS)).astype(int)
    rights = len(right_MTT)
    return float(np.median([_difference(left_NTT[pair // rights], right_MTT[pair % rights]) for pair in sampled]))


def _difference(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    return cv2.norm(left, right, cv2.NORM_L1) / left.size
