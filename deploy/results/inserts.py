"""Adding a batch of results, in one transaction; the insert statements in SQLite's and in PostgreSQL's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, select, text
from sqlalchemy.dialects import postgresql, sqlite

from deploy.results.outbox import insert_messages
from deploy.results.part_rows import insert_parts
from deploy.results.records import Duplicate, NewMessage, NewPart, NewResult
from deploy.results.region_rows import insert_regions
from deploy.results.schema import Base, ResultRow, ResultStatus

RESULTS = Base.metadata.tables["results"]
_ROWS_OF_THEIR_OWN = ("regions", "message")
_COLUMNS = [name for name in NewResult._fields if name not in _ROWS_OF_THEIR_OWN]
_IDENTITY = {"image_path", "image_sha256", "line", "bundle_id", "bundle_version"}


def insert_batch(connection: Connection, batch: Sequence[NewResult | NewPart]) -> list[Duplicate]:
    """Add rows with what belongs to them; see `ResultStore.add`. Those whose content was there under another path."""
    duplicates = _insert_results(connection, [row for row in batch if isinstance(row, NewResult)])
    if parts := [row for row in batch if isinstance(row, NewPart)]:
        insert_parts(connection, parts)
    return duplicates


def _insert_results(connection: Connection, batch: Sequence[NewResult]) -> list[Duplicate]:
    """Add rows of images, their regions and messages.

    A message goes with a content's first row and its first score, and with each file that could not be opened.
    """
    known = _known(connection, batch)
    duplicates: list[Duplicate] = []
    by_content: dict[tuple[str, str], NewResult] = {}
    by_path: dict[tuple[str, str], NewResult] = {}
    messages: list[NewMessage] = []
    for row in batch:
        if row.image_sha256 is None:
            by_path[row.image_path, row.bundle_id] = row
            messages += [row.message] if row.message else []
            continue
        key = (row.image_sha256, row.bundle_id)
        is_news = key not in known or (known[key][1], row.status) == (ResultStatus.UNREADABLE, ResultStatus.SCORED)
        messages += [row.message] if row.message and is_news else []
        path, status = known.setdefault(key, (row.image_path, row.status))
        if path != row.image_path:
            duplicates.append(Duplicate(row.image_path, path))
        if key not in by_content and (status is ResultStatus.UNREADABLE or path == row.image_path):
            by_content[key] = row
    if by_content:
        connection.execute(_insert_content(connection.dialect.name), [_values(row) for row in by_content.values()])
        insert_regions(connection, by_content.values())
    if by_path:
        connection.execute(_insert_path(connection.dialect.name), [_values(row) for row in by_path.values()])
    insert_messages(connection, messages)
    return duplicates


def _known(connection: Connection, batch: Sequence[NewResult]) -> dict[tuple[str, str], tuple[str, ResultStatus]]:
    """Path and status of the batch's contents that have a row, by content and bundle."""
    known: dict[tuple[str, str], tuple[str, ResultStatus]] = {}
    for bundle_id in {row.bundle_id for row in batch}:
        hashes = [row.image_sha256 for row in batch if row.bundle_id == bundle_id and row.image_sha256]
        statement = select(ResultRow.image_sha256, ResultRow.image_path, ResultRow.status).where(
            ResultRow.bundle_id == bundle_id, ResultRow.image_sha256.in_(hashes)
        )
        known.update(
            ((sha256, bundle_id), (path, status))
            for sha256, path, status in connection.execute(statement)
            if sha256 is not None
        )
    return known


def _values(row: NewResult) -> dict[str, Any]:
    values = row._asdict()
    for name in _ROWS_OF_THEIR_OWN:
        del values[name]
    return values


def _insert_content(dialect: str) -> sqlite.Insert | postgresql.Insert:
    """Insert; on a content that is there, replace an unreadable row by a score, and leave anything else."""
    statement = _insert(dialect)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["image_sha256", "bundle_id"],
        set_={name: new[name] for name in _COLUMNS if name not in _IDENTITY},
        where=and_(
            ResultRow.status == ResultStatus.UNREADABLE,
            new["status"] == ResultStatus.SCORED,
        ),
    )


def _insert_path(dialect: str) -> sqlite.Insert | postgresql.Insert:
    """Insert; on a path that could not be opened before either, take the new reason."""
    statement = _insert(dialect)
    return statement.on_conflict_do_update(
        index_elements=["image_path", "bundle_id"],
        index_where=text("image_sha256 IS NULL"),
        set_={name: statement.excluded[name] for name in _COLUMNS if name not in _IDENTITY},
    )


def _insert(dialect: str) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(RESULTS) if dialect == "sqlite" else postgresql.insert(RESULTS)
