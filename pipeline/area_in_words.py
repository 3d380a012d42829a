"""A defect's least area as people are told it. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence


def area_in_words(share: float, sizes: Sequence[tuple[int, int]], millimetres_per_pixel: float | None) -> str:
    """In what it was asked for, and the share of the image that decides.

    Args:
        share: of the image, 0 to 1.
        sizes: (height, width) of the images that are meant; none: nobody knows, and the share alone is told.
        millimetres_per_pixel: of the images; None: nobody said.

    Returns:
        "40 pixels (0.434% of the image)", or "2.5 mm2 (...)" where a pixel's side is known; of images of several sizes
        "31 to 40 pixels (...)".
    """
    told = f"{100 * share:.3g}% of the image"
    areas = sorted({height * width for height, width in sizes})
    if not areas:
        return told
    in_unit = [share * area * (millimetres_per_pixel or 1.0) ** 2 for area in (areas[0], areas[-1])]
    unit = "pixels" if millimetres_per_pixel is None else "mm2"
    return f"{' to '.join(dict.fromkeys(map(_text, in_unit)))} {unit} ({told})"


def _text(area: float) -> str:
    """Three digits, or all before the point."""
    return f"{area:,.0f}" if area >= 100 else f"{area:.3g}"
