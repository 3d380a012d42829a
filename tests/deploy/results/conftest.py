"""An empty result store of each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from deploy.results.database import parse_url
from deploy.results.schema import VERSION_TABLE, Base
from deploy.results.store import ResultStore
from tests.deploy.results.postgres_server import running_postgres


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'results.sqlite'}"
    url: str = request.getfixturevalue("postgres_server")
    engine = create_engine(parse_url(url))
    tables = ", ".join([*Base.metadata.tables, VERSION_TABLE])
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS {tables}"))
    engine.dispose()
    return url


@pytest.fixture
def store(database: str) -> Iterator[ResultStore]:
    with ResultStore(database) as store:
        yield store
