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
from pipeline.region_cells import tiles_within
from pipeline.region_of_interest import RegionOfInterest
from pipeline.tile_grid import TileGrid, tiles_at_own_size


def line_tiles(
    request: AdaptRequest,
    learner: Learner,
    backbone: OpenBackbone,
    region: RegionOfInterest | None,
    images: LineImages,
) -> tuple[TileGrid | None, LineImages]:
    """The tiles that the request asks for, and the images with a remark on them.

    Args:
        request: `tiles` names them, or leaves it to the images' own size and to `most_ms`.
        learner: that is to adapt.
        backbone: that sees a tile.
        region: of interest: only tiles that show some of it are looked at.
        images: to adapt from; of very many tiles fewer defects are taken.

    Returns:
        No tiles where none are asked for, or the images are no larger than one.

    Raises:
        ConfigError: something is asked for that tiles are not combined with, or more tiles than memory is meant for.
    """
    if request.tiles is None:
        return None, images
    _refuse_others(request, learner, len(images.good))
    tiles, said = _asked(request, backbone, region, images), list[str]()
    if tiles is None:
        said = ["The images are seen whole: there is no room, or no time, for two tiles."]
        return None, replace(images, remarks=(*images.remarks, *said))
    if request.tiles == AUTO_TILES:
        said = [f"Each image is seen as {tiles.rows} x {tiles.columns} tiles of {tiles.side} px."]
    if tiles.seen is not None:
        said += [f"{tiles.count} of the {tiles.rows * tiles.columns} tiles show some of the region and are looked at."]
    most = most_images(backbone.spec, tiles.count)
    if len(images.defects) > most:
        said += [f"{most} of {len(images.defects)} defective images are used: of so many tiles, no more are held."]
        images = replace(images, defects=tuple(drawn_evenly(images.defects, most, request.seed)))
    return tiles, replace(images, remarks=(*images.remarks, *said))


def _refuse_others(request: AdaptRequest, learner: Learner, good: int) -> None:
    others = {
        "--oblong, as tiles are square": request.oblong,
        "--align, whose parts are brought to one pose": request.align is not AlignMode.NONE,
        "--any-angle, whose rotated views are of whole images": request.any_angle,
        f"the learner {learner.name}": not learner.sees_tiles,
        "a single good image, which is left out with all its tiles": good < 2,
    }
    for other, asked in others.items():
        if asked:
            needed = "two good images or more, and auto, shared_direction or memory_bank alone, for --tiles"
            raise ConfigError(needed, other, "leave --tiles out, or do without")


def _asked(
    request: AdaptRequest, backbone: OpenBackbone, region: RegionOfInterest | None, images: LineImages
) -> TileGrid | None:
    """Those tiles of them that are looked at; None: one would be all there is."""
    assert request.tiles is not None
    side, most = backbone.spec.height, most_tiles(backbone.spec, len(images.good), len(images.defects))

    def grid_of(rows: int, columns: int) -> TileGrid:
        grid = TileGrid.of((rows, columns), side)
        return grid if region is None else tiles_within(region, grid, backbone.spec)

    if request.tiles != AUTO_TILES:
        rows, columns = map(int, request.tiles.split("x"))
        grid = grid_of(rows, columns)
        if grid.count > most:
            needed = f"at most {most} tiles of {side} px of so many images, whose features are held"
            got = f"{grid.count} in --tiles {request.tiles}"
            raise ConfigError(
                needed, got, "ask for fewer of them, for a smaller --size, or for less --good or --defects"
            )
        return grid
    if request.most_ms is not None:
        most = max(1, min(most, int(request.most_ms / backbone.milliseconds())))
    size = _usual_size(images.labelled)
    rows, columns = tiles_at_own_size(
        size, side, most, lambda rows, columns: grid_of(rows, columns).count if rows * columns > 1 else 1
    )
    return grid_of(rows, columns) if rows * columns > 1 else None


def _usual_size(records: Sequence[ImageRecord]) -> tuple[int, int]:
    """The median (height, width) of the images."""
    heights, widths = zip(*(read_size(record.path) for record in records), strict=True)
    return round(median(heights)), round(median(widths))
