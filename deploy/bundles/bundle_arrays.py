"""The arrays in a bundle: where its bank's rows come from, and its kinds of defects. Nothing is unpickled."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import NoReturn
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.manifest import KindsRecord
from pipeline.errors import BundleError
from pipeline.kinds import KindsOfDefects, Prototypes, Units

# numpy reads headers as Python's tokens; zlib's and zip's errors are of their own
_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TokenError,
    MemoryError,
    BadZipFile,
    zlib.error,
    NotImplementedError,
)


def read_bank_sources(path: Path) -> NDArray[np.integer]:
    """(N, 4) integers. Raises `BundleError`: the file holds something else."""
    try:
        with path.open("rb") as file:
            sources = np.lib.format.read_array(file, allow_pickle=False)
    except _BROKEN as error:
        _refuse(f"an array in {path}", f"'{error}'", error)
    if sources.ndim != 2 or sources.shape[1] != 4 or not np.issubdtype(sources.dtype, np.integer):
        _refuse(f"(N, 4) integers in {path}", f"{sources.dtype} {sources.shape}")
    return sources


def kinds_file(kinds: KindsOfDefects) -> bytes:
    """The arrays of the kinds, as `read_kinds` reads them."""
    arrays: dict[str, NDArray[np.float32]] = {**kinds.prototypes._asdict()}
    for level, (mean, matrix) in enumerate(zip(kinds.units.means, kinds.units.matrices, strict=True)):
        arrays[f"mean_{level}"] = mean
        arrays |= {} if matrix is None else {f"matrix_{level}": matrix}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_kinds(path: Path, record: KindsRecord, channels: tuple[int, ...]) -> KindsOfDefects:
    """The kinds of a bundle, whose backbone has so many channels a level.

    Raises:
        BundleError: the file holds something else.
    """
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
        means = tuple(arrays[f"mean_{level}"] for level in range(len(channels)))
        prototypes = Prototypes(*(arrays[name] for name in Prototypes._fields))
    except _BROKEN as error:
        _refuse(f"arrays of kinds of defects in {path}", f"'{error}'", error)
    matrices = tuple(arrays.get(f"matrix_{level}") for level in range(len(channels)))
    expected = {"centre": (sum(channels),), "directions": (len(record.names), sum(channels))}
    expected |= {f"mean_{level}": (count,) for level, count in enumerate(channels)}
    expected |= {f"matrix_{level}": (n, n) for level, n in enumerate(channels) if matrices[level] is not None}
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected or any(array.dtype != np.float32 for array in arrays.values()):
        _refuse(f"float32 {expected} in {path}", f"{found}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        _refuse(f"finite numbers in {path}", "others")
    return KindsOfDefects(record.names, Units(means, matrices), prototypes, record.temperature, record.none_from)


def _refuse(expected: str, got: str, error: Exception | None = None) -> NoReturn:
    raise BundleError(expected, got, "adapt the line again to make a new version") from error
