"""What a camera of more than 8 bits calls white: 0..white level becomes 0..255."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import ConfigError, ImageError, LineError
from pipeline.imaging.encoded import brightest_value
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import ImageLimits, image_limits, naming, open_image

WHITE_LEVELS = (255, 1023, 4095, 16383, 65535)
"""The largest pixel value of 8-, 10-, 12-, 14- and 16-bit cameras."""


def suggest_white_level(paths: Iterable[Path], limits: ImageLimits | None = None) -> int | None:
    """The smallest usual white level that covers every pixel of the deeper than 8-bit images; None without such images.

    Raises `ImageError` for a file that cannot be used.
    """
    brightest = _survey(paths, limits).brightest
    return None if brightest is None else white_level_for(brightest)


def white_level_of(paths: Iterable[Path], stated: int | None = None) -> int | None:
    """The white level of the images that a line is adapted from: the one stated, else as `suggest_white_level` has it.

    Raises:
        ImageError: a file cannot be used.
        LineError: some images are of 8 bits and some deeper, so that equal values mean different brightness.
        ConfigError: a white level is stated for 8-bit images, or one that pixels exceed.
    """
    found = _survey(paths)
    if len(found.depths) > 1:
        got = " and ".join(f"{count} of {bits} bits" for bits, count in sorted(found.depths.items()))
        raise LineError("images of one depth", got, "take all of them with one camera setting")
    if stated is None:
        return None if found.brightest is None else white_level_for(found.brightest)
    if found.brightest is None:
        raise ConfigError("images of more than 8 bits for a white level", "8-bit ones", "leave the white level out")
    if found.brightest > stated:
        remedy = f"state the camera's, such as {white_level_for(found.brightest)}"
        raise ConfigError(f"a white level no less than the brightest pixel, {found.brightest}", str(stated), remedy)
    return stated


def depth_problem(bit_depth: int, brightest: int, white_level: int | None) -> str | None:
    """Why an image's values mean another brightness than those of a line's support; None where they mean the same.

    Args:
        bit_depth: 8 or 16, as stored.
        brightest: its largest value, where it is of 16 bits.
        white_level: the line's; None: its support has 8 bits.
    """
    if (bit_depth > 8) != (white_level is not None):
        wanted = "8 bits" if white_level is None else "more than 8 bits"
        remedy = "set the camera as it was, or adapt the line again"
        got = f"{bit_depth} bits"
        return str(ImageError(f"an image of {wanted}, as those that the line was adapted from", got, remedy))
    if white_level is not None and brightest > white_level:
        remedy = f"adapt the line again with --white-level {white_level_for(brightest)}"
        return str(ImageError(f"pixels up to the line's white level, {white_level}", str(brightest), remedy))
    return None


class _Survey(NamedTuple):
    """How many images there are of each depth, and the brightest pixel of those of more than 8 bits."""

    depths: Counter[int]
    brightest: int | None


def _survey(paths: Iterable[Path], limits: ImageLimits | None = None) -> _Survey:
    depths: Counter[int] = Counter()
    brightest: int | None = None
    for path in paths:
        with naming(path):
            encoded = open_image(read_bytes(path, (limits or image_limits()).max_bytes), limits)
            depths[encoded.bit_depth] += 1
            if encoded.bit_depth > 8:
                brightest = max(brightest or 0, brightest_value(encoded.decode(0, 0)))
    return _Survey(depths, brightest)


def white_level_for(brightest: int) -> int:
    """The smallest usual white level that is no less than the brightest pixel value."""
    return next(level for level in WHITE_LEVELS if level >= brightest)
