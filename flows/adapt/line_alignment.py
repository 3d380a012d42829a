"""The alignment that a line is adapted with, made from its good images."""

from __future__ import annotations

from dataclasses import replace

from flows.adapt.line_images import LineImages
from flows.adapt.request import AdaptRequest
from flows.views import drawn_evenly
from pipeline.errors import ConfigError
from pipeline.imaging.alignment import Alignment, AlignMode, alignment_of
from pipeline.imaging.images import read_native
from pipeline.region_of_interest import RegionOfInterest

_COMPARED = 16  # good images, each with each


def line_alignment(
    request: AdaptRequest, region: RegionOfInterest | None, images: LineImages
) -> tuple[Alignment | None, LineImages]:
    """The alignment that the request asks for, and the images with a remark on it.

    Raises:
        ConfigError: the good images do not show one part before a background, or the line has a region as well.
        ImageError: one of them cannot be used any longer.
    """
    if request.align is AlignMode.NONE:
        return None, images
    if region is not None:
        expected = "a region of interest or alignment, as a region is drawn on images as they were taken"
        raise ConfigError(expected, "both", "leave --align out, or remove the region")
    drawn = drawn_evenly(images.good, _COMPARED, request.seed)
    whole = (read_native(record.path, white_level=images.white_level, bayer=request.bayer) for record in drawn)
    fit = alignment_of(whole, request.align)
    if fit is None:
        expected = "good images of one part that stands out from its background, to align"
        raise ConfigError(expected, "others", "leave --align out, or take images whose background is even")
    said = f"Aligned to one of them, good images correlate {fit.aligned:.2f} with it, {fit.as_taken:.2f} as taken."
    if not fit.alignment.turns:
        said += f" Only {fit.alignment.undone} is undone: the parts are round, or no turn of one fits another best."
    return fit.alignment, replace(images, remarks=(*images.remarks, said))
