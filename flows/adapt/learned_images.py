"""By what a version knows again what it was adapted from: contents, and thumbnails of the good images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from deploy.engine.limits import available_cpus
from flows.views import View
from pipeline.imaging.images import require_image
from pipeline.product_lines.lines import ImageRecord
from pipeline.repeated_parts import thumbnail


def learned_images(view: View) -> tuple[tuple[str, ...], list[NDArray[np.uint8]]]:
    """Of each good image its content's SHA-256 and its thumbnail (T, T), as the view sees it, in the support's order.

    Raises:
        ImageError: one can no longer be used.
    """

    def look(record: ImageRecord) -> tuple[str, NDArray[np.uint8]]:
        image = require_image(record.path, view.preprocess)
        return image.sha256, thumbnail(image.pixels)

    with ThreadPoolExecutor(available_cpus()) as pool:
        seen = list(pool.map(look, view.good))
    return tuple(sha256 for sha256, _ in seen), [small for _, small in seen]
