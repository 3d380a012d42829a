"""A line with several versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.bundles.registry import Registry
from tests.parts.plant import write_versions


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """One line with the versions v1 (live), v2 and v3."""
    return write_versions(tmp_path / "home")
