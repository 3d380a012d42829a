"""A run's rows while they wait for its end."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from deploy.scoring.image_result import FileStatus, ImageResult
from deploy.scoring.row_spool import RowSpool
from pipeline.errors import StorageError


def test_no_room_for_temporary_files_is_a_sentence() -> None:
    result = ImageResult(name="part.png", path=Path("part.png"), sha256="a" * 64, status=FileStatus.SCORED)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match="expected to read or write /"), RowSpool() as spool:
            for _ in range(1000):
                spool.add(result, line="plant/line", bundle_version="v1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
