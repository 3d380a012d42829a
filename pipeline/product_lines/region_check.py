"""Is the file that draws a line's region of interest one that adaptation will take?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.files import is_image_name
from pipeline.product_lines.layout_names import REGION_FILES, means_region
from pipeline.region_of_interest import LEAST_CELLS, read_region
from pipeline.system_files import is_passed_over

_CELLS = 32 * 32  # of the finest feature grid at 256 px, the smallest input


@dataclass(frozen=True)
class RegionReport:
    """What is wrong with a line's region file; `errors` keep a line from being adapted. Both empty: nothing."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check_region(root: Path, sizes: Iterable[tuple[int, int]]) -> RegionReport:
    """Look at the region file in a line's folder.

    Args:
        root: the line's folder.
        sizes: (height, width) of its upright images.
    """
    found = [root / name for name in REGION_FILES if (root / name).is_file()]
    misnamed = [path.name for path in sorted(root.iterdir()) if _is_misnamed(path)]
    warnings = [f"{name} is not read: a region of interest is called {' or '.join(REGION_FILES)}." for name in misnamed]
    if len(found) > 1:
        return RegionReport((f"Two regions of interest, {' and '.join(REGION_FILES)}: remove one.",), tuple(warnings))
    if not found:
        return RegionReport((), tuple(warnings))
    (path,) = found
    try:
        region = read_region(path, sizes)
    except (ConfigError, ImageError) as error:
        return RegionReport((f"{path.name} cannot be used: {error}.",), tuple(warnings))
    if region.share == 1:
        warnings.append(f"{path.name} looks at everything: without it nothing changes.")
    elif region.share * _CELLS < LEAST_CELLS:
        warnings.append(f"{path.name} looks at {region.share:.1%} of the image, too little for images of 256 pixels.")
    return RegionReport((), tuple(warnings))


def _is_misnamed(path: Path) -> bool:
    if path.name in REGION_FILES or is_passed_over(path.name) or not path.is_file():
        return False
    return means_region(path.stem) and (is_image_name(path.name) or path.suffix.lower() == ".json")
