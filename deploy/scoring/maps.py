"""Anomaly maps for other programs: one float32 TIFF an image, laid out like the folder that was scored."""

from __future__ import annotations

import io
from pathlib import Path, PurePath

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.storage import replace_file, storage_errors


def map_path(folder: Path, name: str) -> Path:
    """Where below `folder` the map of the image `name` of a source belongs: under that name and `.tiff`.

    A name that begins at the root or climbs, as a list may hold, stays below the folder.
    """
    parts = ["__" if part == ".." else part for part in PurePath(name).parts]
    return folder.joinpath(*(part.strip("/") for part in parts[:-1]), f"{parts[-1]}.tiff")


def write_map(path: Path, anomaly_map: NDArray[np.float32]) -> None:
    """Write a map (h, w), at the model's grid, as it is: the values that the bundle's pixel threshold belongs to.

    Raises:
        StorageError: the file cannot be written.
    """
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.ascontiguousarray(anomaly_map, np.float32), photometric="minisblack")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue(), durable=False)  # it can be computed again
