"""What is asked of the store about a line's production."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Select, exists, select
from sqlalchemy.orm import aliased

from deploy.results.schema import ResultRow, ResultStatus


def first_scored(line: str, since: datetime, limit: int) -> Select[ResultRow]:
    """The rows of a line's contents that no version had scored before, the latest first."""
    earlier = aliased(ResultRow)
    known = exists().where(
        earlier.image_sha256 == ResultRow.image_sha256, _of_line(earlier, line), earlier.scored_at < since
    )
    return (
        select(ResultRow)
        .where(
            ResultRow.line == line,
            ResultRow.status == ResultStatus.SCORED,
            ResultRow.scored_at >= since,
            ResultRow.image_sha256.is_not(None),
            ~known,
        )
        .order_by(ResultRow.id.desc())
        .limit(limit)
    )


def scored_content(line: str, sha256: str) -> Select[int]:
    """The ids of a line's rows with a score of a content, by whichever bundle."""
    return select(ResultRow.id).where(
        ResultRow.image_sha256 == sha256, _of_line(ResultRow, line), ResultRow.status == ResultStatus.SCORED
    )


def scored_under(line: str, path: str, since: datetime) -> Select[int]:
    """The ids of a line's rows with a score that were written under a path since then."""
    return select(ResultRow.id).where(
        ResultRow.line == line,
        ResultRow.scored_at >= since,
        ResultRow.image_path == path,
        ResultRow.status == ResultStatus.SCORED,
    )


def unreadable_content(line: str, sha256: str, since: datetime, *, but_by: str) -> Select[int]:
    """The ids of a line's rows since then of a content that could not be read, by other bundles than one."""
    return select(ResultRow.id).where(
        ResultRow.image_sha256 == sha256,
        _of_line(ResultRow, line),
        ResultRow.status == ResultStatus.UNREADABLE,
        ResultRow.bundle_id != but_by,
        ResultRow.scored_at >= since,
    )


def _of_line(rows: type[ResultRow], line: str) -> ColumnElement[bool]:
    """Whether a row is of the line, as an expression: the index of all rows of a line, which may be half a million, is
    none to look a content up in, and SQLite would take it.
    """
    return rows.line.concat("") == line
