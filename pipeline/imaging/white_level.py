"""What a camera of more than 8 bits calls white: 0..white level becomes 0..255."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.imaging.encoded import Pixels
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import ImageLimits, image_limits, naming, open_image

WHITE_LEVELS = (255, 1023, 4095, 16383, 65535)
"""The largest pixel value of 8-, 10-, 12-, 14- and 16-bit cameras."""


def suggest_white_level(paths: Iterable[Path], limits: ImageLimits | None = None) -> int | None:
    """The smallest usual white level that covers every pixel of the deeper than 8-bit images; None without such images.

    Raises `ImageError` for a file that cannot be used.
    """
    brightest = -1
    for path in paths:
        with naming(path):
            encoded = open_image(read_bytes(path, (limits or image_limits()).max_bytes), limits)
            if encoded.bit_depth > 8:
                brightest = max(brightest, brightest_value(encoded.decode(0, 0)))
    return white_level_for(brightest) if brightest >= 0 else None


def white_level_for(brightest: int) -> int:
    """The smallest usual white level that is no less than the brightest pixel value."""
    return next(level for level in WHITE_LEVELS if level >= brightest)


def brightest_value(pixels: Pixels) -> int:
    """The largest grey or colour value; alpha does not count."""
    return int(pixels[..., :3].max() if pixels.ndim == 3 else pixels.max())
