"""Anomaly maps for other programs: one float32 TIFF an image, laid out like the folder that was scored.

A map says in its description which content it is of, so that a name that is used again keeps the maps of all its parts.
"""

from __future__ import annotations

import io
from pathlib import Path, PurePath

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.storage import replace_file, storage_errors

_CONTENT = "sha256 of the image: "


def map_path(folder: Path, name: str) -> Path:
    """Where below `folder` the map of the image `name` of a source belongs: under that name and `.tiff`.

    A name that begins at the root or climbs, as a list may hold, stays below the folder.
    """
    parts = ["__" if part == ".." else part for part in PurePath(name).parts]
    return folder.joinpath(*(part.strip("/") for part in parts[:-1]), f"{parts[-1]}.tiff")


def write_map(path: Path, anomaly_map: NDArray[np.float32], sha256: str | None) -> None:
    """Write a map (h, w), at the model's grid, as it is: the values that the bundle's pixel threshold belongs to.

    Args:
        path: where it goes; where that is the map of another content, beside it under the first twelve digits of
            `sha256`: `current.bmp.0123456789ab.tiff`.
        anomaly_map: see above.
        sha256: of the image's content; None: not known.

    Raises:
        StorageError: the file cannot be written.
    """
    if sha256 is not None and _content_of(path) not in (None, sha256):
        path = path.with_suffix(f".{sha256[:12]}.tiff")
    buffer = io.BytesIO()
    told = None if sha256 is None else f"{_CONTENT}{sha256}"
    pixels = np.ascontiguousarray(anomaly_map, np.float32)
    tifffile.imwrite(buffer, pixels, photometric="minisblack", description=told)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue(), durable=False)  # it can be computed again


def _content_of(path: Path) -> str | None:
    """The sha256 that a map is of; None where there is none, or it does not say."""
    try:
        with tifffile.TiffFile(path) as file:
            told = file.pages.first.description
    except (OSError, ValueError, IndexError):  # not there, no TIFF after all, or one that was cut off
        return None
    return told.removeprefix(_CONTENT) if told.startswith(_CONTENT) else None
