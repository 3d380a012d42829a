"""Databases of a PostgreSQL server that a benchmark started."""

from __future__ import annotations

import sqlalchemy


def new_database(postgres: str, name: str) -> str:
    """The URL, for SQLAlchemy and psycopg, of a new database of the server; it goes with the server."""
    url = sqlalchemy.make_url(postgres).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)
