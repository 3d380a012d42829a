"""An image as people look at it, read once more after it was scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageError
from pipeline.imaging.bayer import demosaiced
from pipeline.imaging.images import (
    ImageLimits,
    PreprocessSpec,
    UnreadableImage,
    image_limits,
    open_image,
    read_file,
    to_native,
)


def native_of(
    path: Path, sha256: str, preprocess: PreprocessSpec, limits: ImageLimits | None = None
) -> NDArray[np.uint8] | None:
    """The upright image at its own size, uint8 RGB (H, W, 3), in the depth and colours that the line's camera means.

    None where the file has gone, or has another content than `sha256` by now: another part must not stand under an
    image's heat map.
    """
    limits = limits or image_limits()
    file = read_file(path, limits)
    if isinstance(file, UnreadableImage) or file.sha256 != sha256:
        return None
    try:
        encoded = demosaiced(open_image(file.data, limits), preprocess.bayer)
        return to_native(encoded, encoded.decode(0, 0), preprocess.white_level)
    except ImageError:
        return None
