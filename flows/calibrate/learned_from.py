"""What a version knows of the parts that it learned from. Torch-free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.bundles.learned_parts import learned_thumbnails
from deploy.scoring.pictures import support_view
from pipeline.product_lines.near_duplicates import THUMBNAIL_SIDE
from pipeline.repeated_parts import thumbnail


def parts_learned_from(bundle: Bundle) -> tuple[NDArray[np.uint8], list[str]]:
    """(N, T, T) thumbnails of the good images that a version learned from, and sentences on those that it lacks.

    A version of before Linewise kept them has its pictures alone, of some of the images where there are many.

    Raises:
        BundleError: its thumbnails are no such.
    """
    if (kept := learned_thumbnails(bundle)) is not None:
        return kept, []
    show, pictures = support_view(bundle), bundle.support_pictures
    seen = [thumbnail(pixels) for number in pictures if (pixels := show(number, -1)) is not None]
    said, images = list[str](), len(bundle.manifest.support.good)
    if len(seen) < images:
        said.append(
            f"The version keeps pictures of {len(seen):,} of the {images:,} good images that it learned from, as it is "
            "of an older Linewise: parts of the others are not known when other images show them again. Adapt the line "
            "again to have all of them known."
        )
    return np.array(seen, np.uint8).reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE), said
