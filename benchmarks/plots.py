"""Plots of the pages, as SVG files that are equal for equal figures."""

from __future__ import annotations

from types import ModuleType


def svg_pyplot() -> ModuleType:
    """Matplotlib's pyplot, set up for that."""
    import matplotlib as mpl  # noqa: PLC0415 (only who draws needs it)

    mpl.use("svg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "linewise", "font.size": 9}
    from matplotlib import pyplot  # noqa: PLC0415 (after the backend is chosen)

    return pyplot
