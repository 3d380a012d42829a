"""A plant of three lines, a server of it, and an image that is rejected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.rest.rest_server import RestServer, running
from tests.parts.plant import write_image
from tests.parts.whole_plant import WholePlant

TOKEN = "a long random text"  # of this test


@pytest.fixture
def plant(tmp_path: Path) -> WholePlant:
    return WholePlant(tmp_path)


@pytest.fixture
def home(plant: WholePlant) -> Path:
    return plant.registry.home


@pytest.fixture
def server(home: Path) -> Iterator[RestServer]:
    with running(home) as started:
        yield started


@pytest.fixture
def bright(tmp_path: Path) -> Path:
    return write_image(tmp_path / "bright.png", brightness=255)
