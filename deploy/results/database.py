"""Opening the result store's database: URL, connection settings, the schema's revision, and failures as sentences."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError

from deploy.results.schema import SCHEMA_REVISION, VERSION_TABLE
from pipeline.errors import ConfigError, StorageError
from pipeline.storage import storage_errors

BUSY_SECONDS = 30
"""How long a writer waits for another process to end its transaction."""

_BEGIN = "sqlite_begin"


def parse_url(database: str | Path) -> URL:
    """The URL of a database: a SQLAlchemy URL, or the path of an SQLite file.

    Raises:
        ConfigError: it is no URL, or of a database Linewise does not keep results in.
    """
    if isinstance(database, Path) or "://" not in database:
        return URL.create("sqlite", database=str(Path(database).expanduser().absolute()))
    try:
        url = make_url(database)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            "a database URL such as sqlite:///results.sqlite or postgresql+psycopg://user@host/name",
            "text that is none",  # it may hold a password
            "correct LINEWISE_DATABASE_URL",
        ) from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError("an SQLite or PostgreSQL URL", repr(url.drivername), "correct LINEWISE_DATABASE_URL")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError("the path of an SQLite file", "an SQLite URL without one", "write sqlite:////a/path.sqlite")
    return url


def open_database(url: URL) -> Engine:
    """Connect, and bring the schema to this version's state (making it in an empty database).

    Raises:
        ConfigError: the driver is not installed.
        StorageError: the database cannot be reached, written, is none, or was made by a newer Linewise.
    """
    try:
        ping = url.get_backend_name() != "sqlite"  # a server may have closed a connection meanwhile
        engine = create_engine(url, pool_size=8, max_overflow=0, pool_timeout=300, pool_pre_ping=ping)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise ConfigError(
            f"a driver for {url.drivername}", "none installed", "pip install 'linewise[postgres]'"
        ) from error
    if url.get_backend_name() == "sqlite":
        assert url.database is not None, "parse_url saw to it"
        with storage_errors(Path(url.database)):
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        with database_errors(url):
            _bring_up_to_date(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def for_writing(engine: Engine) -> Engine:
    """The same engine, whose transactions take SQLite's write lock at their begin: a later upgrade could fail."""
    return engine.execution_options(**{_BEGIN: "IMMEDIATE"})


@contextmanager
def database_errors(url: URL) -> Iterator[None]:
    """Turn what the database says inside into a `StorageError`. Our own mistakes in SQL stay what they are."""
    try:
        yield
    except DBAPIError as error:
        denied = getattr(error.orig, "sqlstate", None) == "42501"
        if isinstance(error, IntegrityError | ProgrammingError) and not denied:
            raise
        raise _sentence(url, error.orig) from error
    except sqlite3.Error as error:  # from the pragmas, which go to the driver directly
        raise _sentence(url, error) from error


def _sentence(url: URL, error: BaseException | None) -> StorageError:
    name = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    code: Any = getattr(error, "sqlstate", None)
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; the rest tells the system call
    match code:
        case sqlite3.SQLITE_FULL | "53100":
            got, remedy = "a full disk", "free some space, then run it again: what was committed is kept"
        case sqlite3.SQLITE_READONLY | "25006":
            got, remedy = "a read-only one", "make the file and its folder writable, or name another database"
        case sqlite3.SQLITE_CANTOPEN:
            got, remedy = "one that cannot be opened", "check that its folder is there and may be written"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            got, remedy = "a file that is no SQLite database, or a damaged one", "restore it or name another file"
        case sqlite3.SQLITE_BUSY:
            got = f"one that another process kept locked for over {BUSY_SECONDS} s"
            remedy = "end the other process or wait for it"
        case _:
            lines = str(error).strip().splitlines()
            got, remedy = f"'{lines[0] if lines else type(error).__name__}'", "check the database and its disk"
    return StorageError(f"a result database that can be used at {name}", got, remedy)


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours, see below; the driver's own comes too late
    for pragma in (f"busy_timeout={BUSY_SECONDS * 1000}", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'DEFERRED')}")


def _bring_up_to_date(engine: Engine) -> None:
    if schema_revisions(engine) != {SCHEMA_REVISION}:
        from deploy.results.migrating import migrate  # noqa: PLC0415  # Alembic takes a quarter of a second to import

        migrate(engine)


def schema_revisions(engine: Engine) -> set[str]:
    """What the database says of its schema, as Alembic wrote it: one revision; none where it is empty."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return set()
        return set(connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")))  # noqa: S608  # our own name
