"""Masks of the boxes that people drew round defects: filled ones, as those that a line's masks/ may hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from deploy.reports.overlay import encode_png
from deploy.results.schema import VerdictRow
from pipeline.errors import ImageError
from pipeline.imaging.images import read_size
from pipeline.storage import make_folder_of, replace_file


def box_mask(row: VerdictRow, folder: Path) -> Path | None:
    """The mask of a verdict's box, written where it is not there yet; None: no box was drawn, or not inside the image.

    Args:
        row: whose image is still where it was.
        folder: of such masks; a file's name says content and box, so that it never changes.

    Raises:
        StorageError: the file cannot be written.
    """
    if row.box is None:
        return None
    try:
        height, width = read_size(Path(row.image_path))
    except ImageError:  # adaptation leaves the image out, and says so
        return None
    left, top, right, bottom = _pixels(row.box, (height, width))
    if left >= right or top >= bottom:
        return None
    path = folder / f"{row.image_sha256[:16]}-{left}-{top}-{right}-{bottom}.png"
    if not path.is_file():
        mask = np.zeros((height, width, 3), np.uint8)
        cv2.rectangle(mask, (left, top), (right - 1, bottom - 1), (255, 255, 255), cv2.FILLED)
        make_folder_of(path)
        replace_file(path, encode_png(mask), durable=False)  # it can be drawn again
    return path


def _pixels(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom in whole pixels of an image of that (height, width): right and bottom excluded."""
    x, y, width, height = box
    left, top = max(round(x), 0), max(round(y), 0)
    return left, top, min(round(x + width), size[1]), min(round(y + height), size[0])
