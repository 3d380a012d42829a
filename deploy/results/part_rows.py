"""Rows of parts that have several views: one a part, also where it was told before with fewer of its views."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Select, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from deploy.results.outbox import insert_messages
from deploy.results.records import NewMessage, NewPart
from deploy.results.schema import Base, ResultStatus

_PARTS = Base.metadata.tables["parts"]
_VIEWS = Base.metadata.tables["part_views"]
_RESULTS = Base.metadata.tables["results"]
_ROWS_OF_THEIR_OWN = ("views", "message")


def insert_parts(connection: Connection, parts: Sequence[NewPart]) -> None:
    """Add rows of parts with their views, and a message of each that is news.

    No news is what was told before with these contents, or with more of them. A part that was told with fewer, or of
    which a view that could not be read was written anew, gets a new row in place of the old one. One of which no view
    could be opened is told each time, and has one row.
    """
    messages: list[NewMessage] = []
    statement = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(_PARTS)
    for part in parts:
        contents = {seen.view: seen.image_sha256 for seen in part.views if seen.image_sha256 is not None}
        before = _told_with(connection, part, contents) if contents else _told_unopened(connection, part)
        if contents and any(contents.items() <= told.items() for told in before.values()):
            continue
        connection.execute(delete(_VIEWS).where(_VIEWS.c.part_id.in_(before)))
        connection.execute(delete(_PARTS).where(_PARTS.c.id.in_(before)))
        values = {name: value for name, value in part._asdict().items() if name not in _ROWS_OF_THEIR_OWN}
        number = connection.scalar(
            statement.values(values).on_conflict_do_nothing(index_elements=["content_id"]).returning(_PARTS.c.id)
        )
        if number is None:
            continue  # another process was faster
        connection.execute(
            insert(_VIEWS),
            [
                {
                    "part_id": number,
                    "view": seen.view,
                    "image_path": seen.image_path,
                    "image_sha256": seen.image_sha256,
                }
                for seen in part.views
            ],
        )
        messages += [part.message] if part.message else []
    insert_messages(connection, messages)


def _told_with(connection: Connection, part: NewPart, contents: dict[str, str]) -> dict[int, dict[str, str]]:
    """The contents by view of each row of this very part: they share one, and no view that was read has another one."""
    sharing = _named(part).join(_VIEWS, _VIEWS.c.part_id == _PARTS.c.id)
    sharing = sharing.where(_VIEWS.c.image_sha256.in_(contents.values())).distinct()
    rows: dict[int, dict[str, str]] = {number: {} for number in connection.scalars(sharing)}
    views = select(_VIEWS.c.part_id, _VIEWS.c.view, _VIEWS.c.image_sha256).where(_VIEWS.c.part_id.in_(rows))
    for number, view, sha256 in connection.execute(views):
        if sha256 is not None:
            rows[number][view] = sha256
    unread = _unread(connection, part, {sha256 for told in rows.values() for sha256 in told.values()})
    return {
        number: told
        for number, told in rows.items()
        if told.items() & contents.items()
        and all(contents.get(view, sha256) == sha256 or sha256 in unread for view, sha256 in told.items())
    }


def _unread(connection: Connection, part: NewPart, contents: set[str]) -> set[str]:
    """Those that the part's bundle could not read."""
    theirs = (_RESULTS.c.bundle_id == part.bundle_id, _RESULTS.c.image_sha256.in_(contents))
    unreadable = _RESULTS.c.status == ResultStatus.UNREADABLE
    return set(connection.scalars(select(_RESULTS.c.image_sha256).where(*theirs, unreadable)))


def _told_unopened(connection: Connection, part: NewPart) -> dict[int, dict[str, str]]:
    """Rows of that name of which no view could be opened either."""
    opened = select(_VIEWS.c.part_id).where(_VIEWS.c.part_id == _PARTS.c.id, _VIEWS.c.image_sha256.is_not(None))
    named = _named(part).where(_PARTS.c.image_sha256.is_(None), ~opened.exists())
    return {number: {} for number in connection.scalars(named)}


def _named(part: NewPart) -> Select[int]:
    return select(_PARTS.c.id).where(_PARTS.c.bundle_id == part.bundle_id, _PARTS.c.part == part.part)
