"""The four ways in which a colour sensor's filters lie over its pixels. Apart, so that `--help` decodes nothing."""

from __future__ import annotations

from enum import StrEnum


class BayerPattern(StrEnum):
    """The colours of the first two pixels of the first row, then of the second, as cameras' manuals have it."""

    RGGB = "RGGB"
    BGGR = "BGGR"
    GRBG = "GRBG"
    GBRG = "GBRG"
