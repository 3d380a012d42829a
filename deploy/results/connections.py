"""Connections to the result store's database, to read and to write on; what the database says is a `StorageError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from deploy.results.database import database_errors, for_writing, open_database, parse_url


class Connections:
    """An open database; a context manager. Its methods may be called from any thread.

    Args:
        database: path of an SQLite file, or a SQLAlchemy URL.

    Raises:
        ConfigError: it is no database that results are kept in, or its driver is not installed.
        StorageError: it cannot be reached, written, is none, or was made by a newer Linewise.
    """

    def __init__(self, database: str | Path) -> None:
        self.url = parse_url(database)
        self._engine = open_database(self.url)
        self._writing = for_writing(self._engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every connection. Nothing waits here to be written."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read on; what it reads is of one moment."""
        with database_errors(self.url), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session to read on, whose rows may be used when it has ended."""
        with database_errors(self.url), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in one transaction, which keeps SQLite's other writers waiting until its end."""
        with database_errors(self.url), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def writing_session(self) -> Iterator[Session]:
        """A session in one transaction: its changes are committed together at its end, or not at all."""
        with database_errors(self.url), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session
