"""An image as people look at it, read once more after it was scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageError
from pipeline.imaging.arrays import array_image
from pipeline.imaging.bayer import demosaiced
from pipeline.imaging.bayer_pattern import BayerPattern
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


def native_of_frame(frame: NDArray[Any], mosaic: BayerPattern | None, preprocess: PreprocessSpec) -> NDArray[np.uint8]:
    """A camera's frame as `native_of` shows a file.

    Args:
        frame: as `deploy.scoring.sources.source.SourceItem` has it.
        mosaic: the pattern that the camera states; None: none.
        preprocess: whose white level, and whose pattern before the camera's, hold.
    """
    encoded = demosaiced(array_image(frame, bgr=True), preprocess.bayer or mosaic)
    return to_native(encoded, encoded.decode(0, 0), preprocess.white_level)
