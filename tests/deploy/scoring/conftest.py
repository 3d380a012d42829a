"""Where scoring keeps its rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.results.store import ResultStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore(tmp_path / "results.sqlite") as opened:
        yield opened
