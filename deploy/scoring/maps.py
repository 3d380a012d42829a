"""Anomaly maps for other programs: one float32 TIFF an image, laid out like the folder that was scored."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from deploy.storage import replace_file, storage_errors


def map_path(folder: Path, image: Path, scored: Path) -> Path:
    """Where below `folder` the map of `image` belongs, a file below the folder `scored`: its name and `.tiff`."""
    relative = image.relative_to(scored)
    return folder / relative.with_name(f"{relative.name}.tiff")


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
