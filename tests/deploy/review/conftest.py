"""A review page over a line that has scored images."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="the extra `pages` is not installed")

from tests.deploy.review.asked_plant import AskedPlant
from tests.deploy.scoring_plant import Plant
from tests.parts.plant import write_image


@pytest.fixture
def asked(plant: Plant) -> AskedPlant:
    """Twelve images, from dark (PASS) to bright (REJECT), scored with heat maps."""
    for number in range(12):
        write_image(plant.images / f"{number:02}.png", brightness=20 * (number + 1), seed=number, size=96)
    plant.score(overlays=plant.root / "overlays")
    return AskedPlant(plant)
