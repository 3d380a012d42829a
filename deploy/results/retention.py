"""What the result store lets go of with age: rows with their regions, runs without rows, the names of pictures.

What belongs to an image that somebody said a verdict of stays, whatever its age. All of it goes in small transactions
with pauses between them, as SQLite lets one writer in at a time and scoring writes: while 25,844 of 400,000 rows went,
on two busy cores, half of the locks took less than 28 ms and the longest 0.23 s; a write of 64 rows beside it waited
56 ms at most. A process killed at any moment leaves whole rows or none, and the next run goes on.

SQLite keeps the room of rows that went inside its file, for new rows: a store that lets go as many as come no longer
grows. `VACUUM`, which gives it back to the disk, writes the whole file anew and locks scoring out for as long, and
`PRAGMA incremental_vacuum` works only in a file that was made, or vacuumed, for it and leaves it fragmented: neither is
done here. `docs/operations.md` tells when and how to. PostgreSQL vacuums by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, text, tuple_, update

from deploy.results.schema import (
    PartRow,
    PartViewRow,
    RegionRow,
    ResultRow,
    RunRow,
    RunStatus,
    SkipRow,
    VerdictRow,
)
from deploy.results.store import ResultStore

BATCH_ROWS = 500
_LEAST_PAUSE = 0.02  # seconds

_JUDGED = exists().where(VerdictRow.line == ResultRow.line, VerdictRow.image_sha256 == ResultRow.image_sha256)
_JUDGED_WORST = exists().where(VerdictRow.line == PartRow.line, VerdictRow.image_sha256 == PartRow.image_sha256)
_WITHOUT_ROWS = ~exists().where(ResultRow.run_id == RunRow.id)


def count_old_rows(store: ResultStore, before: datetime) -> int:
    """How many rows `drop_old_rows` would drop."""
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(ResultRow).where(_old(before))) or 0


def drop_old_rows(store: ResultStore, before: datetime) -> int:
    """Drop rows that were scored before a time, with their regions, and parts of before, with their views; then runs of
    before that have no rows any more. A part stays if somebody said a verdict of its worst view.

    Returns:
        How many rows that were.

    Raises:
        StorageError: the database cannot be written; what went until then is gone, whole rows with their regions.
    """

    def drop(connection: Connection, ids: list[int]) -> int:
        gone = and_(ResultRow.id.in_(ids), ~_JUDGED)  # a verdict may have come since they were found
        contents = select(ResultRow.image_sha256, ResultRow.bundle_id).where(gone)
        connection.execute(delete(SkipRow).where(SkipRow.result_id.in_(select(ResultRow.id).where(gone))))
        connection.execute(delete(RegionRow).where(tuple_(RegionRow.image_sha256, RegionRow.bundle_id).in_(contents)))
        return connection.execute(delete(ResultRow).where(gone)).rowcount

    def drop_runs(connection: Connection, ids: list[int]) -> int:
        return connection.execute(delete(RunRow).where(RunRow.id.in_(ids), _WITHOUT_ROWS)).rowcount

    def drop_parts(connection: Connection, ids: list[int]) -> int:
        connection.execute(delete(PartViewRow).where(PartViewRow.part_id.in_(ids)))
        return connection.execute(delete(PartRow).where(PartRow.id.in_(ids))).rowcount

    dropped = _in_batches(store, ResultRow, _old(before), drop)
    _in_batches(store, PartRow, and_(PartRow.decided_at < before, ~_JUDGED_WORST), drop_parts)
    ended = and_(RunRow.started_at < before, RunRow.status != RunStatus.RUNNING, _WITHOUT_ROWS)
    _in_batches(store, RunRow, ended, drop_runs)
    return dropped


def forget_old_pictures(store: ResultStore, before: datetime) -> None:
    """Let rows that were scored before a time name no picture any more, so that its file can go.

    Raises:
        StorageError: the database cannot be written.
    """

    def forget(connection: Connection, ids: list[int]) -> int:
        named = update(ResultRow).where(ResultRow.id.in_(ids), ~_JUDGED).values(overlay_path=None)
        return connection.execute(named).rowcount

    _in_batches(store, ResultRow, and_(_old(before), ResultRow.overlay_path.is_not(None)), forget)


def pictured_contents(store: ResultStore, sha256s: Collection[str], since: datetime) -> set[tuple[str, str]]:
    """Content and bundle of each picture of some contents that stays: its row was scored since, or has a verdict."""
    named = select(ResultRow.image_sha256, ResultRow.bundle_id).where(
        ResultRow.image_sha256.in_(sha256s),
        ResultRow.overlay_path.is_not(None),
        or_(ResultRow.scored_at >= since, _JUDGED),
    )
    with store.reading() as connection:
        return {(sha256, bundle_id) for sha256, bundle_id in connection.execute(named) if sha256 is not None}


def bundles_in_use(store: ResultStore, line: str) -> set[str]:
    """Ids of a line's bundles that scored an image with a verdict, or that a run scores with which has not ended."""
    judged = select(ResultRow.bundle_id).join(
        VerdictRow, and_(VerdictRow.line == ResultRow.line, VerdictRow.image_sha256 == ResultRow.image_sha256)
    )
    running = select(RunRow.bundle_id).where(RunRow.line == line, RunRow.status == RunStatus.RUNNING)
    with store.reading() as connection:
        named = connection.scalars(judged.where(VerdictRow.line == line).distinct())
        return {*named, *connection.scalars(running.distinct())}


def bytes_of_rows(store: ResultStore, rows: int) -> int:
    """About how many bytes of SQLite's file so many rows take with what belongs to them; 0 for another database."""
    with store.reading() as connection:
        if connection.dialect.name != "sqlite":
            return 0
        pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        size: int = connection.scalar(text(pages)) or 0
        total = connection.scalar(select(func.count()).select_from(ResultRow)) or 0
    return size * rows // total if total else 0


def _old(before: datetime) -> ColumnElement[bool]:
    return and_(ResultRow.scored_at < before, ~_JUDGED)


def _in_batches(
    store: ResultStore,
    table: type[ResultRow] | type[PartRow] | type[RunRow],
    condition: ColumnElement[bool],
    change: Callable[[Connection, list[int]], int],
) -> int:
    """Change the rows that a condition finds, a batch to a transaction; how many that were.

    They are found outside of the transaction. After each as long a pause as it took lets other writers in: a lock that
    is taken again at once starves those that look for it now and then, as SQLite does.
    """
    changed, last = 0, 0
    while True:
        found = select(table.id).where(table.id > last, condition).order_by(table.id).limit(BATCH_ROWS)
        with store.reading() as connection:
            ids = list(connection.scalars(found))
        if not ids:
            return changed
        began = time.monotonic()
        with store.writing() as connection:
            changed += change(connection, ids)
        last = ids[-1]
        time.sleep(max(_LEAST_PAUSE, time.monotonic() - began))
