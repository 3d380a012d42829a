"""What is asked of the store's regions for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

from sqlalchemy import select

from deploy.results.schema import RegionRow, ResultRow
from deploy.results.store import TRANSACTION_ROWS, ResultStore


def regions_of(
    store: ResultStore, line: str, *, run_id: int | None = None, since: datetime | None = None
) -> Iterator[tuple[ResultRow, RegionRow]]:
    """The regions of a line's flagged images, each with its image's row, oldest image first, in flat memory.

    Args:
        store: that has them.
        line: its name.
        run_id: only of images that this run wrote; None: of all.
        since: a time with a zone; None: from the first on.

    Raises:
        StorageError: the store cannot be read.
    """
    same = (RegionRow.image_sha256 == ResultRow.image_sha256) & (RegionRow.bundle_id == ResultRow.bundle_id)
    statement = select(ResultRow, RegionRow).join(RegionRow, same).where(ResultRow.line == line)
    if run_id is not None:
        statement = statement.where(ResultRow.run_id == run_id)
    if since is not None:
        statement = statement.where(ResultRow.scored_at >= since)
    statement = statement.order_by(ResultRow.id, RegionRow.number).execution_options(yield_per=TRANSACTION_ROWS)
    with store.session() as session, closing(session.execute(statement)) as rows:
        yield from ((image, region) for image, region in rows)
