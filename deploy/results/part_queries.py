"""What is asked of the store's parts that have several views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

from sqlalchemy import bindparam, select

from deploy.results.schema import PartRow, PartViewRow
from deploy.results.store import TRANSACTION_ROWS, ResultStore

_TOLD = (  # built once: building costs more than running
    select(PartRow)
    .join(PartViewRow, PartViewRow.part_id == PartRow.id)
    .where(
        PartViewRow.image_sha256 == bindparam("sha256"),
        PartRow.bundle_id == bindparam("bundle"),
        PartRow.part == bindparam("part"),
    )
    .order_by(PartRow.id.desc())
    .limit(1)
)


def told_part(store: ResultStore, bundle_id: str, part: str, sha256: str) -> PartRow | None:
    """The latest part of that name that a bundle judged with that content among its views. Cheap.

    Raises:
        StorageError: the store cannot be read.
    """
    with store.session() as session:
        return session.scalars(_TOLD, {"bundle": bundle_id, "part": part, "sha256": sha256}).first()


def parts_of(store: ResultStore, line: str, *, since: datetime | None = None) -> Iterator[PartRow]:
    """A line's parts in the order they were told, in flat memory; `since` is a time with a zone.

    Raises:
        StorageError: the store cannot be read.
    """
    statement = select(PartRow).where(PartRow.line == line).order_by(PartRow.id)
    if since is not None:
        statement = statement.where(PartRow.decided_at >= since)
    statement = statement.execution_options(yield_per=TRANSACTION_ROWS)
    with store.session() as session, closing(session.scalars(statement)) as rows:
        for row in rows:
            session.expunge(row)
            yield row
