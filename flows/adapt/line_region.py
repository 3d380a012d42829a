"""The region of interest that a line is adapted with, and which defects lie wholly outside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flows.adapt.line_images import LineImages
from flows.adapt.request import AdaptRequest
from pipeline.cell_grid import CellGrid
from pipeline.errors import ConfigError
from pipeline.features import BackboneSpec
from pipeline.imaging.images import read_size
from pipeline.missed_defects import require_defects
from pipeline.product_lines.layout_names import REGION_FILES
from pipeline.product_lines.lines import ImageRecord
from pipeline.region_cells import region_of_views
from pipeline.region_of_interest import LEAST_CELLS, RegionOfInterest, read_region
from pipeline.support import read_defect_mask
from pipeline.tile_grid import TileGrid
from pipeline.unicode_names import one_line

_NAMED = 3  # images that the sentence names before it only counts


def line_region(request: AdaptRequest, folder: Path, images: LineImages) -> tuple[RegionOfInterest | None, LineImages]:
    """The region that the request names, else the one in the line's folder, and the images without defects outside it.

    Raises:
        ConfigError: the folder has two, or the region cannot be used, see `read_region`; or fewer defects are left than
            the share of missed ones asks for.
        ImageError: it is no image, or an image or a mask cannot be used any longer.
    """
    path = request.region or _in_folder(folder)
    if path is None:
        return None, images
    region = read_region(path, [read_size(record.path) for record in images.labelled])
    outside = [record for record in images.defects if _lies_outside(record, region)]
    defects = tuple(record for record in images.defects if record not in outside)
    if request.missed_defects is not None:
        require_defects(request.missed_defects, len(defects))
    whence = "" if request.region else f", as {path.name} in the line's folder says"
    said = [f"{region.share:.0%} of each image is looked at{whence}.", *_left_out(outside)]
    counts = {**images.left_out, "defective outside the region": len(outside)}
    return region, replace(images, defects=defects, left_out=counts, remarks=(*images.remarks, *said))


def require_cells(region: RegionOfInterest, specs: Sequence[BackboneSpec], tiles: TileGrid | None = None) -> None:
    """See that a region has enough cells at every input size, or on the canvas of tiles of that size.

    Raises:
        ConfigError: it has not.
    """
    for spec in specs:
        finest, whole = spec.levels[0], tiles and replace(tiles, seen=None)
        grid = CellGrid((finest.height, finest.width), whole).whole
        size = (spec.height, spec.width) if whole is None else whole.canvas
        cells = int(region_of_views(region, size, (), CellGrid(grid)).sum())
        if cells < LEAST_CELLS:
            needed = f"a region of at least {LEAST_CELLS} cells of the {grid[0]} x {grid[1]} that a model sees"
            raise ConfigError(needed, f"{cells}", "draw a larger one, crop the images to it, or state a larger size")


def _in_folder(folder: Path) -> Path | None:
    found = [folder / name for name in REGION_FILES if (folder / name).is_file()]
    if len(found) > 1:
        got = f"{' and '.join(REGION_FILES)} in {folder}"
        raise ConfigError("one region of interest", got, "remove one of them, or name the one that counts as --region")
    return found[0] if found else None


def _lies_outside(record: ImageRecord, region: RegionOfInterest) -> bool:
    """Whether its defect is known to; without a mask, or with one that marks nothing, nobody knows where it is."""
    mask = read_defect_mask(record)
    return mask is not None and bool(mask.any()) and not region.meets(mask)


def _left_out(outside: Sequence[ImageRecord]) -> list[str]:
    if not outside:
        return []
    names = ", ".join(one_line(record.path.name) for record in outside[:_NAMED])
    more = f" and {len(outside) - _NAMED} more" if outside[_NAMED:] else ""
    images = "1 defective image is" if len(outside) == 1 else f"{len(outside)} defective images are"
    return [f"{images} left out, as the defect lies wholly outside the region: {names}{more}."]
