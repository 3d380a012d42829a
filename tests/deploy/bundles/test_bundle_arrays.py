"""Kinds of defects in a bundle: what is written is read, and nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from deploy.bundles.bundle_arrays import kinds_file, read_kinds
from deploy.bundles.manifest import KindsRecord
from pipeline.errors import BundleError
from pipeline.kinds import KindsOfDefects, Prototypes, Units

RECORD = KindsRecord(
    names=("crack", "stain"), images=(2, 1), temperature=0.2, none_from=0.7, confusion=((1, 0, 1), (0, 0, 0))
)
CHANNELS = (3, 2)


def kinds() -> KindsOfDefects:
    rng = np.random.default_rng(0)

    def values(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    units = Units((values(3), values(2)), (values(3, 3), None))
    return KindsOfDefects(RECORD.names, units, Prototypes(values(5), values(2, 5)), 0.2, 0.7)


def test_kinds_are_read_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "kinds.npz").write_bytes(kinds_file(kinds()))
    read, written = read_kinds(tmp_path / "kinds.npz", RECORD, CHANNELS), kinds()
    levels = [np.ones((3, 4, 4), np.float32), np.ones((2, 2, 2), np.float32)]
    anomaly_map = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(read.distances(levels, anomaly_map, 3.0), written.distances(levels, anomaly_map, 3.0))
    assert (read.names, read.temperature, read.none_from) == (RECORD.names, 0.2, 0.7)


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, centre=np.array([{}], object))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04 no archive", kinds_file(kinds())[:-30], pickled()]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kinds.npz").write_bytes(content)
    with pytest.raises(BundleError, match=r"kinds\.npz"):
        read_kinds(tmp_path / "kinds.npz", RECORD, CHANNELS)


def test_arrays_for_another_backbone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "kinds.npz").write_bytes(kinds_file(kinds()))
    with pytest.raises(BundleError, match=r"float32 .*centre"):
        read_kinds(tmp_path / "kinds.npz", RECORD, (3, 4))


def test_numbers_that_would_make_every_probability_nan_are_refused(tmp_path: Path) -> None:
    damaged = kinds()
    damaged.prototypes.centre[2] = np.nan
    (tmp_path / "kinds.npz").write_bytes(kinds_file(damaged))
    with pytest.raises(BundleError, match="finite numbers"):
        read_kinds(tmp_path / "kinds.npz", RECORD, CHANNELS)


def test_a_record_has_a_figure_for_each_kind() -> None:
    with pytest.raises(ValueError, match="do not fit the names"):
        KindsRecord.model_validate(RECORD.model_dump() | {"images": (1,)})
