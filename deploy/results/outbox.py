"""The outbox: messages that are committed with the result they tell of, and stay until their receiver has them.

Nothing is dropped here but what was delivered, or what someone drops on purpose: on a full disk results cannot be
committed either, so that scoring ends, and the images behind it are scored later. So none is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL, Connection, Engine, delete, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from deploy.results.database import database_errors, for_writing
from deploy.results.records import NewMessage
from deploy.results.schema import Base, OutboxRow
from pipeline.errors import StorageError
from pipeline.storage import file_lock

_OUTBOX = Base.metadata.tables["outbox"]


class QueuedMessage(NamedTuple):
    """A message that waits for its receiver; `number` says its place."""

    number: int
    message_id: str
    line: str
    decision: str
    body: str


class OutboxCounts(NamedTuple):
    """Messages for one destination: how many wait, since when, and how many it refused, with the latest reason."""

    destination: str
    waiting: int
    waiting_since: datetime | None
    refused: int
    refusal: str | None


def insert_messages(connection: Connection, messages: Sequence[NewMessage]) -> None:
    """Queue messages in the transaction of their results. One that is there already stays as it is."""
    if messages:
        now = datetime.now(UTC)
        statement = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(_OUTBOX)
        rows = [message._asdict() | {"queued_at": now} for message in messages]
        connection.execute(statement.on_conflict_do_nothing(), rows)


class Outbox:
    """The messages of a result store, which makes one: `ResultStore.outbox`. Its methods may be called from any thread.

    Every method raises `StorageError` where the database cannot be used.
    """

    def __init__(self, url: URL, engine: Engine) -> None:
        self._url = url
        self._engine = engine
        self._writing = for_writing(engine)

    @contextmanager
    def claimed(self, destination: str) -> Iterator[bool]:
        """Whether this is the only sender to a destination while the body runs; another one's end lets the next one in.

        Two at once would send everything twice, and out of order.
        """
        key = hashlib.sha256(destination.encode()).hexdigest()
        with ExitStack() as stack:
            yield self._lock_row(key, stack) if self._is_postgres else self._lock_file(key, stack)

    def waiting(self, destination: str, limit: int) -> list[QueuedMessage]:
        """The messages for a destination that wait, the oldest first."""
        statement = (
            select(*(_OUTBOX.c[name] for name in ("id", *QueuedMessage._fields[1:])))
            .where(_OUTBOX.c.destination == destination, _OUTBOX.c.refusal.is_(None))
            .order_by(_OUTBOX.c.id)
            .limit(limit)
        )
        with database_errors(self._url), self._engine.connect() as connection:
            return [QueuedMessage(*row) for row in connection.execute(statement)]

    def remove(self, numbers: Collection[int]) -> None:
        """Forget messages: they were delivered."""
        if numbers:
            with database_errors(self._url), self._writing.begin() as connection:
                connection.execute(delete(_OUTBOX).where(_OUTBOX.c.id.in_(numbers)))

    def refuse(self, number: int, refusal: str) -> None:
        """Keep a message, but send it no more: its receiver will never take it."""
        with database_errors(self._url), self._writing.begin() as connection:
            connection.execute(update(_OUTBOX).where(_OUTBOX.c.id == number).values(refusal=refusal))

    def restore(self, destination: str) -> int:
        """Let the refused messages for a destination wait again, in their old places; return how many."""
        statement = update(_OUTBOX).where(_OUTBOX.c.destination == destination, _OUTBOX.c.refusal.is_not(None))
        with database_errors(self._url), self._writing.begin() as connection:
            return connection.execute(statement.values(refusal=None)).rowcount

    def drop(self, destination: str, *, waiting: bool = False) -> int:
        """Forget the refused messages for a destination, with `waiting` also those that wait; return how many."""
        statement = delete(_OUTBOX).where(_OUTBOX.c.destination == destination)
        if not waiting:
            statement = statement.where(_OUTBOX.c.refusal.is_not(None))
        with database_errors(self._url), self._writing.begin() as connection:
            return connection.execute(statement).rowcount

    def counts(self) -> list[OutboxCounts]:
        """What is here for each destination, in their order."""
        waits = OutboxRow.refusal.is_(None)
        statement = (
            select(
                OutboxRow.destination,
                func.count().filter(waits),
                func.min(OutboxRow.queued_at).filter(waits),
                func.count(OutboxRow.refusal),
                func.max(OutboxRow.id).filter(OutboxRow.refusal.is_not(None)),
            )
            .group_by(OutboxRow.destination)
            .order_by(OutboxRow.destination)
        )
        with database_errors(self._url), self._engine.connect() as connection:
            found = connection.execute(statement).all()
            refusals = select(OutboxRow.id, OutboxRow.refusal).where(OutboxRow.id.in_([row[4] for row in found]))
            by_number = {row.id: row.refusal for row in connection.execute(refusals)}
        return [OutboxCounts(*row[:4], by_number.get(row[4])) for row in found]

    @property
    def _is_postgres(self) -> bool:
        return self._url.get_backend_name() == "postgresql"

    def _lock_file(self, key: str, stack: ExitStack) -> bool:
        try:
            stack.enter_context(file_lock(Path(f"{self._url.database}.{key[:16]}.lock"), timeout_seconds=0))
        except StorageError:
            return False
        return True

    def _lock_row(self, key: str, stack: ExitStack) -> bool:
        with database_errors(self._url):
            connection = stack.enter_context(self._engine.connect().execution_options(isolation_level="AUTOCOMMIT"))
            number = {"key": int(key[:15], 16)}
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), number):
                return False
        stack.callback(self._unlock_row, connection, number)
        return True

    def _unlock_row(self, connection: Connection, number: dict[str, int]) -> None:
        with database_errors(self._url):
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), number)
