"""The tiles that a line's images are cut into, as the request asks for them, and what is not combined with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from flows.adapt.line_images import LineImages
from flows.adapt.request import AUTO_TILES, AdaptRequest
from flows.held_images import most_images, most_tiles
from flows.open_backbone import OpenBackbone
from flows.views import drawn_evenly
from pipeline.errors import ConfigError
from pipeline.imaging.alignment import AlignMode
from pipeline.imaging.images import read_size
from pipeline.learner import Learner
from pipeline.product_lines.lines import ImageRecord
from pipeline.region_of_interest import RegionOfInterest
from pipeline.tile_grid import tiles_at_own_size

Shape = tuple[int, int]


def line_tiles(
    request: AdaptRequest,
    learner: Learner,
    backbone: OpenBackbone,
    region: RegionOfInterest | None,
    images: LineImages,
) -> tuple[Shape | None, LineImages]:
    """Rows and columns of the tiles that the request asks for, and the images with a remark on them.

    Args:
        request: `tiles` names them, or leaves it to the images' own size and to `most_ms`.
        learner: that is to adapt.
        backbone: that sees a tile.
        region: of interest.
        images: to adapt from; of very many tiles fewer defects are taken.

    Returns:
        No tiles where none are asked for, or the images are no larger than one.

    Raises:
        ConfigError: something is asked for that tiles are not combined with, or more tiles than memory is meant for.
    """
    if request.tiles is None:
        return None, images
    _refuse_others(request, learner, region, len(images.good))
    shape, said = _asked(request, backbone, images), list[str]()
    if shape[0] * shape[1] == 1:
        said = ["The images are seen whole: there is no room, or no time, for two tiles."]
        return None, replace(images, remarks=(*images.remarks, *said))
    if request.tiles == AUTO_TILES:
        said = [f"Each image is seen as {shape[0]} x {shape[1]} tiles of {backbone.spec.height} px."]
    most = most_images(backbone.spec, shape[0] * shape[1])
    if len(images.defects) > most:
        said += [f"{most} of {len(images.defects)} defective images are used: of so many tiles, no more are held."]
        images = replace(images, defects=tuple(drawn_evenly(images.defects, most, request.seed)))
    return shape, replace(images, remarks=(*images.remarks, *said))


def _refuse_others(request: AdaptRequest, learner: Learner, region: RegionOfInterest | None, good: int) -> None:
    others = {
        "--oblong, as tiles are square": request.oblong,
        "--align, whose parts are brought to one pose": request.align is not AlignMode.NONE,
        "--any-angle, whose rotated views are of whole images": request.any_angle,
        "a region of interest": region is not None,
        f"the learner {learner.name}": not learner.sees_tiles,
        "a single good image, which is left out with all its tiles": good < 2,
    }
    for other, asked in others.items():
        if asked:
            needed = "two good images or more, and auto, shared_direction or memory_bank alone, for --tiles"
            raise ConfigError(needed, other, "leave --tiles out, or do without")


def _asked(request: AdaptRequest, backbone: OpenBackbone, images: LineImages) -> Shape:
    assert request.tiles is not None
    side, most = backbone.spec.height, most_tiles(backbone.spec, len(images.good), len(images.defects))
    if request.tiles != AUTO_TILES:
        rows, columns = map(int, request.tiles.split("x"))
        if rows * columns > most:
            needed = f"at most {most} tiles of {side} px of so many images, whose features are held"
            got = f"{rows * columns} in --tiles {request.tiles}"
            raise ConfigError(
                needed, got, "ask for fewer of them, for a smaller --size, or for less --good or --defects"
            )
        return rows, columns
    if request.most_ms is not None:
        most = max(1, min(most, int(request.most_ms / backbone.milliseconds())))
    return tiles_at_own_size(_usual_size(images.labelled), side, most)


def _usual_size(records: Sequence[ImageRecord]) -> tuple[int, int]:
    """The median (height, width) of the images."""
    heights, widths = zip(*(read_size(record.path) for record in records), strict=True)
    return round(median(heights)), round(median(widths))
