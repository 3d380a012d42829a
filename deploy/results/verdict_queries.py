"""What is asked of the store's verdicts, and of the lines that their images were scored for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select
from sqlalchemy.orm import aliased

from deploy.results.schema import ResultRow, VerdictRow

_AT_ONCE = 256  # contents in a statement
LATEST_FIRST = (VerdictRow.said_at.desc(), VerdictRow.id.desc())  # what is imported may be older than others


def counts() -> ColumnElement[bool]:
    """Whether a verdict is a word that nobody took back; a later one on its content may overrule it."""
    later = aliased(VerdictRow)
    taken_back = select(later.id).where(later.withdraws == VerdictRow.id).exists()
    return and_(VerdictRow.withdraws.is_(None), ~taken_back)


def verdicts_of(line: str, *, image_sha256: str | None, overruled: bool, withdrawn: bool) -> Select[VerdictRow]:
    """The verdicts on a line's images, or on one content, the latest first; see `ResultStore.verdicts`."""
    statement = select(VerdictRow).where(VerdictRow.line == line).order_by(*LATEST_FIRST)
    if image_sha256 is not None:
        statement = statement.where(VerdictRow.image_sha256 == image_sha256)
    if withdrawn:
        return statement
    if overruled:
        return statement.where(counts())
    place = func.row_number().over(partition_by=VerdictRow.image_sha256, order_by=LATEST_FIRST).label("place")
    placed = select(VerdictRow.id, place).where(VerdictRow.line == line, counts()).subquery()
    return statement.join(placed, placed.c.id == VerdictRow.id).where(placed.c.place == 1)


def lines_by_content(connection: Connection, sha256s: Iterable[str]) -> dict[str, set[str]]:
    """The lines that contents have results of; see `ResultStore.lines_of`."""
    found: dict[str, set[str]] = {}
    remaining = iter(sha256s)
    while batch := list(islice(remaining, _AT_ONCE)):
        pairs = select(ResultRow.image_sha256, ResultRow.line).where(ResultRow.image_sha256.in_(batch)).distinct()
        for sha256, line in connection.execute(pairs):
            if sha256 is not None:
                found.setdefault(sha256, set()).add(line)
    return found
