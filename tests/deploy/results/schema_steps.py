"""Steps of a result database's schema, taken back."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from sqlalchemy import create_engine

from deploy.results.database import parse_url
from deploy.results.migrating import alembic_config


def step_back(path: Path, revision: str) -> None:
    """The schema as a Linewise of that step left it."""
    config, engine = alembic_config(), create_engine(parse_url(path))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()
