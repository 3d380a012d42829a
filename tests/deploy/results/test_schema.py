"""The database's schema: what the migrations make, and when they run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from deploy.results.database import parse_url
from deploy.results.migrating import alembic_config
from deploy.results.schema import SCHEMA_REVISION, VERSION_TABLE, Base
from deploy.results.store import ResultStore
from pipeline.errors import StorageError


def test_the_migrations_make_what_the_classes_say(database: str) -> None:
    ResultStore(database).close()
    engine = create_engine(parse_url(database))
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_a_database_that_needs_no_migration_is_opened_without_alembic(tmp_path: Path) -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [SCHEMA_REVISION]
    path = tmp_path / "results.sqlite"
    ResultStore(path).close()
    code = (
        "import sys; from pathlib import Path; from deploy.results.store import ResultStore; "
        "ResultStore(Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_database_of_a_newer_linewise_asks_for_an_upgrade(database: str) -> None:
    ResultStore(database).close()
    engine = create_engine(parse_url(database))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StorageError, match=r"9999.*upgrade Linewise"):
        ResultStore(database)
