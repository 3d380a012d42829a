"""Views of parts as files of a plant's folder, and what was told of the parts."""

from __future__ import annotations

import zlib
from pathlib import Path

from deploy.results.part_queries import parts_of
from deploy.results.schema import PartRow
from deploy.scoring.part_rule import parse_part_rule
from tests.deploy.scoring_plant import LINE, Plant
from tests.parts.plant import write_image

VIEWS = ("top", "side", "bottom")
RULE = parse_part_rule("{part}_{view}.png", VIEWS)
GOOD, DOUBTFUL, BAD = 10, 120, 200


def view(plant: Plant, part: str, name: str, brightness: int = GOOD, seed: int = 0) -> Path:
    """Write a view of a part; other parts, views and seeds have other contents."""
    seed = content_seed(part, name, seed)
    return write_image(plant.images / f"{part}_{name}.png", brightness=brightness, seed=seed)


def content_seed(part: str, name: str, seed: int) -> int:
    return zlib.crc32(f"{part} {name} {seed}".encode())


def rows(plant: Plant) -> list[PartRow]:
    return list(parts_of(plant.store, LINE))


def told(plant: Plant) -> list[tuple[str, str, str, str]]:
    return [(row.part, row.decision, row.worst_view, ",".join(row.views_missing)) for row in rows(plant)]
