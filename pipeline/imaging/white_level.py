"""What a camera of more than 8 bits calls white: 0..white level becomes 0..255."""

from __future__ import annotations

from pipeline.errors import ConfigError, ImageError

WHITE_LEVELS = (255, 1023, 4095, 16383, 65535)
"""The largest pixel value of 8-, 10-, 12-, 14- and 16-bit cameras."""


def line_white_level(brightest: int | None, stated: int | None = None) -> int | None:
    """The white level of a line, which is kept with it: the one stated, else the smallest usual one that covers it.

    Args:
        brightest: the largest pixel value of its images of more than 8 bits; None: it has none.
        stated: by a person; None: nobody stated one.

    Raises:
        ConfigError: a white level is stated for 8-bit images, or one that pixels exceed.
    """
    if stated is None:
        return None if brightest is None else white_level_for(brightest)
    if brightest is None:
        raise ConfigError("images of more than 8 bits for a white level", "8-bit ones", "leave the white level out")
    if brightest > stated:
        remedy = f"state the camera's, such as {white_level_for(brightest)}"
        raise ConfigError(f"a white level no less than the brightest pixel, {brightest}", str(stated), remedy)
    return stated


def depth_problem(bit_depth: int, brightest: int, white_level: int | None) -> ImageError | None:
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
        return ImageError(f"an image of {wanted}, as those that the line was adapted from", got, remedy)
    if white_level is not None and brightest > white_level:
        remedy = f"adapt the line again with --white-level {white_level_for(brightest)}"
        return ImageError(f"pixels up to the line's white level, {white_level}", str(brightest), remedy)
    return None


def white_level_for(brightest: int) -> int:
    """The smallest usual white level that is no less than the brightest pixel value."""
    return next(level for level in WHITE_LEVELS if level >= brightest)
