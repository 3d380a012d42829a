"""Regions of flagged images as rows of the result store, by image content and bundle, the largest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from deploy.results.records import NewResult
from deploy.results.schema import Base
from pipeline.regions import Region

_REGIONS = Base.metadata.tables["regions"]
_OF_CONTENT = (
    select(_REGIONS)
    .where(_REGIONS.c.image_sha256 == bindparam("sha256"), _REGIONS.c.bundle_id == bindparam("bundle"))
    .order_by(_REGIONS.c.number)
)


def insert_regions(connection: Connection, results: Iterable[NewResult]) -> None:
    """Add the regions of new results, in their transaction. Those of a content that has some already stay."""
    if rows := [row for result in results for row in _rows(result)]:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(_REGIONS).on_conflict_do_nothing(), rows)


def read_regions(connection: Connection, bundle_id: str, sha256: str) -> tuple[Region, ...]:
    """The regions that a bundle marked in a content; none where it passed, or was scored before regions were kept."""
    rows = connection.execute(_OF_CONTENT, {"sha256": sha256, "bundle": bundle_id})
    return tuple(
        Region(
            box=(row.x, row.y, row.width, row.height),
            contour=tuple((x, y) for x, y in row.contour),
            area=row.area,
            area_mm2=row.area_mm2,
            peak=row.peak,
            mean=row.mean,
        )
        for row in rows
    )


def _rows(result: NewResult) -> Iterator[dict[str, Any]]:
    for number, region in enumerate(result.regions, 1):
        x, y, width, height = region.box
        yield {
            "image_sha256": result.image_sha256,
            "bundle_id": result.bundle_id,
            "number": number,
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "area": region.area,
            "area_mm2": region.area_mm2,
            "peak": region.peak,
            "mean": region.mean,
            "contour": region.contour,
        }
