"""Bringing a database's schema to this version's state, by Alembic's migrations."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, text

from deploy.results.database import for_writing, schema_revisions
from pipeline.errors import StorageError
from pipeline.storage import file_lock

_LOCK = 0x6C696E6577697365  # "linewise": the key of PostgreSQL's advisory lock


def migrate(engine: Engine) -> None:
    """Take the steps that the database lacks; of two processes that open a new one at once, one takes them.

    Raises:
        StorageError: the database was made by a newer Linewise.
    """
    config = alembic_config()
    script = ScriptDirectory.from_config(config)
    with _locked(engine):
        revisions = schema_revisions(engine)
        try:
            script.get_revisions(tuple(revisions))
        except CommandError as error:
            raise StorageError(
                "a result database of this version of Linewise or an older one",
                f"schema {', '.join(sorted(revisions))}, which this version does not know",
                "upgrade Linewise on this machine",
            ) from error
        if engine.dialect.name == "sqlite":
            raw = engine.raw_connection()  # a journal's mode changes outside transactions only, and stays in the file
            try:
                raw.cursor().execute("PRAGMA journal_mode=WAL")
            finally:
                raw.close()
        with for_writing(engine).begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def alembic_config() -> Config:
    """Where the migrations are, also inside an installed wheel."""
    config = Config()
    config.set_main_option("script_location", "deploy.results:migrations")
    return config


def _locked(engine: Engine) -> AbstractContextManager[None]:
    if engine.url.get_backend_name() != "sqlite" or engine.url.database is None:
        return nullcontext()
    return file_lock(Path(f"{engine.url.database}.lock"))
