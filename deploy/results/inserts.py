"""The two insert statements of the result store, in SQLite's and in PostgreSQL's words."""

from __future__ import annotations

from sqlalchemy import and_, text
from sqlalchemy.dialects import postgresql, sqlite

from deploy.results.records import NewResult
from deploy.results.schema import Base, ResultRow, ResultStatus

RESULTS = Base.metadata.tables["results"]
_IDENTITY = {"image_path", "image_sha256", "line", "bundle_id", "bundle_version"}


def insert_content(dialect: str) -> sqlite.Insert | postgresql.Insert:
    """Insert; on a content that is there, replace an unreadable row by a score, and leave anything else."""
    statement = _insert(dialect)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["image_sha256", "bundle_id"],
        set_={name: new[name] for name in NewResult._fields if name not in _IDENTITY},
        where=and_(
            ResultRow.status == ResultStatus.UNREADABLE,
            new["status"] == ResultStatus.SCORED,
        ),
    )


def insert_path(dialect: str) -> sqlite.Insert | postgresql.Insert:
    """Insert; on a path that could not be opened before either, take the new reason."""
    statement = _insert(dialect)
    return statement.on_conflict_do_update(
        index_elements=["image_path", "bundle_id"],
        index_where=text("image_sha256 IS NULL"),
        set_={name: statement.excluded[name] for name in NewResult._fields if name not in _IDENTITY},
    )


def _insert(dialect: str) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(RESULTS) if dialect == "sqlite" else postgresql.insert(RESULTS)
