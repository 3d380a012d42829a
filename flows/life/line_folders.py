"""The folders of a plant's lines, and what of them adaptation would learn from."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from pipeline.errors import LineError
from pipeline.imaging.files import instead_of_folder, iter_image_files
from pipeline.product_lines.layout_names import GOOD, REGION_FILES
from pipeline.product_lines.lines import ProductLine, holds_good_parts
from pipeline.storage import storage_errors
from pipeline.system_files import is_passed_over
from pipeline.unicode_names import composed


def line_folders(folder: Path) -> dict[str, Path]:
    """By name, sorted, the folders of lines: `<line>`, or `<data set>/<line>` where that one holds good parts.

    A folder without good parts, and without a line below it, is a line's whose images are not sorted yet.

    Raises:
        LineError: no such folder.
        StorageError: it cannot be listed.
    """
    if not folder.is_dir():
        got = f"a file, {folder}" if folder.exists() else f"no folder {folder}"
        raise LineError("a folder with a folder for each line", got, instead_of_folder(folder))
    found: dict[str, Path] = {}
    for path in _folders(folder):
        below = {} if holds_good_parts(path) else {f"{path.name}/{one.name}": one for one in _folders(path)}
        lines = {name: one for name, one in below.items() if holds_good_parts(one)}
        found |= lines or {path.name: path}
    return {composed(name): path for name, path in found.items()}


def _folders(folder: Path) -> list[Path]:
    with storage_errors(folder):
        return sorted(path for path in folder.iterdir() if path.is_dir() and not is_passed_over(path.name))


def has_good_parts(folder: Path) -> bool:
    """Whether a line's folder has an image of a good part, so that it can be adapted to."""
    places = [place for place in (folder / "train" / GOOD, folder / GOOD) if place.is_dir()]
    return any(next(iter(iter_image_files(place)), None) is not None for place in places)


def state_of(line: ProductLine) -> str:
    """What changes with a line's labelled images, their masks and its region: names, sizes and times of the files."""
    digest = hashlib.sha256()
    for path in _labelled_files(line):
        status = path.stat()
        digest.update(
            f"{path.relative_to(line.root)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="replace")
        )
    return digest.hexdigest()


def quiet_for(line: ProductLine) -> float:
    """Seconds since one of them came or changed on its disk, whatever time the file itself tells; never below 0."""
    return max(0.0, time.time() - max(path.stat().st_ctime for path in _labelled_files(line)))


def _labelled_files(line: ProductLine) -> list[Path]:
    records = (*line.train_good, *line.test_good, *line.defects)
    masks = [record.mask_path for record in records if record.mask_path is not None]
    regions = [line.root / name for name in REGION_FILES if (line.root / name).is_file()]
    return sorted({*(record.path for record in records), *masks, *regions})
