"""A line that scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.scoring_plant import Plant, open_plant


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    """A plant without images yet."""
    with open_plant(tmp_path) as plant:
        yield plant
