"""Thumbnails of all good images that a version learned from: by them it knows their parts when it sees them again.

Their contents are in the manifest. Pictures are only of those that most of the bank's rows are from. A bundle of before
has no thumbnails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.bundles.manifest import LEARNED
from pipeline.errors import BundleError, ImageError
from pipeline.imaging.images import ImageLimits, open_image
from pipeline.product_lines.near_duplicates import THUMBNAIL_SIDE


def learned_file(thumbnails: Sequence[NDArray[np.uint8]]) -> bytes:
    """Thumbnails (T, T), see `pipeline.repeated_parts`, below one another as a grey PNG (N * T, T): some 2 kB each."""
    written, encoded = cv2.imencode(".png", np.concatenate(thumbnails))
    assert written, "OpenCV encodes any uint8 image"
    return encoded.tobytes()


def learned_thumbnails(bundle: Bundle) -> NDArray[np.uint8] | None:
    """(N, T, T) thumbnails of the good images that the version learned from, in the manifest's order.

    None when the bundle has none.

    Raises:
        BundleError: the file holds something else.
    """
    if LEARNED not in bundle.manifest.files:
        return None
    path, count = bundle.path / LEARNED, len(bundle.manifest.support.good)
    expected, size = f"{count} thumbnails in {path}", (count * THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    try:
        data = path.read_bytes()
        open_image(data, ImageLimits(max_pixels=size[0] * size[1], min_side=1))  # before OpenCV takes the memory
    except (OSError, ImageError) as error:
        _refuse(expected, f"'{error}'", error)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape != size or pixels.dtype != np.uint8:
        _refuse(expected, "no image" if pixels is None else f"{pixels.dtype} {pixels.shape}")
    return np.asarray(pixels, np.uint8).reshape(count, THUMBNAIL_SIDE, THUMBNAIL_SIDE)


def _refuse(expected: str, got: str, error: Exception | None = None) -> NoReturn:
    raise BundleError(expected, got, "adapt the line again to make a new version") from error
