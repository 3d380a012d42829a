"""What is asked of the store's parts that have several views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

from sqlalchemy import and_, bindparam, func, select

from deploy.results.records import PartView
from deploy.results.schema import PartRow, PartViewRow, ResultRow, ResultStatus
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


def latest_views(store: ResultStore, bundle_id: str, part: str) -> dict[str, PartView]:
    """How a bundle judged the views, by name, of the latest part of that name; one that was not read has no decision.

    Empty: there is none, or results of its images are gone.

    Raises:
        StorageError: the store cannot be read.
    """
    latest = select(func.max(PartRow.id)).where(PartRow.bundle_id == bundle_id, PartRow.part == part).scalar_subquery()
    of_its_image = and_(ResultRow.bundle_id == bundle_id, ResultRow.image_sha256 == PartViewRow.image_sha256)
    judged = select(PartViewRow, ResultRow).outerjoin(ResultRow, of_its_image).where(PartViewRow.part_id == latest)
    with store.session() as session:
        rows = session.execute(judged).all()
    if any(seen.image_sha256 is not None and result is None for seen, result in rows):
        return {}
    return {seen.view: _judged(seen, result) for seen, result in rows}


def _judged(seen: PartViewRow, result: ResultRow | None) -> PartView:
    view = PartView(seen.view, seen.image_path, seen.image_sha256, None, None, None, None)
    if result is None or result.status is ResultStatus.UNREADABLE:
        return view
    said = ("decision", "score", "p_value", "reason", "kind", "kind_probability")
    return view._replace(**{name: getattr(result, name) for name in said})


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
