"""What the result store keeps for watching lines for drift: their streams, how far each was watched, and alarms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from deploy.results.schema import Base, DriftAlarmRow, DriftStateRow, ResultRow, ResultStatus
from deploy.results.store import ResultStore

_STATES = Base.metadata.tables["drift_states"]
_ALARMS = Base.metadata.tables["drift_alarms"]


class StreamRow(NamedTuple):
    """A scored image of a line's stream; fields are `ResultRow`'s, None where the image, or the row, has none."""

    id: int
    scored_at: datetime
    image_path: str
    score: float | None = None
    height: int | None = None
    width: int | None = None
    depth: int | None = None
    brightness: float | None = None
    contrast: float | None = None
    fineness: float | None = None
    red: float | None = None
    blue: float | None = None
    profiles: bytes | None = None


class Stream(NamedTuple):
    """A line's stream as the bundle scores it that scored the line's latest image; `began`: its first image's time."""

    bundle_id: str
    bundle_version: str
    began: datetime


class DriftState(NamedTuple):
    """How far a line was watched; see `DriftStateRow`."""

    bundle_id: str
    row_id: int
    images: int
    state: bytes
    watched_at: datetime


class NewAlarm(NamedTuple):
    """An alarm that is to be stored; see `DriftAlarmRow`."""

    line: str
    bundle_id: str
    bundle_version: str
    statistic: str
    since: datetime
    noticed_at: datetime
    change: float
    words: str
    before: list[str]
    after: list[str]


_COLUMNS = (
    ResultRow.id,
    ResultRow.scored_at,
    ResultRow.image_path,
    ResultRow.score,
    ResultRow.image_height,
    ResultRow.image_width,
    ResultRow.image_depth,
    ResultRow.look_brightness,
    ResultRow.look_contrast,
    ResultRow.look_fineness,
    ResultRow.look_red,
    ResultRow.look_blue,
    ResultRow.look_profiles,
)


def scored_lines(store: ResultStore) -> list[str]:
    """Names of the lines that a bundle scored, sorted."""
    with store.reading() as connection:
        return sorted(connection.scalars(select(ResultRow.line).distinct()))


def stream_of(store: ResultStore, line: str) -> Stream | None:
    """A line's stream; None before its first image."""
    scored = select(ResultRow).where(ResultRow.line == line, ResultRow.status == ResultStatus.SCORED)
    with store.reading() as connection:
        latest = connection.execute(
            scored.with_only_columns(ResultRow.bundle_id, ResultRow.bundle_version)
            .order_by(ResultRow.scored_at.desc(), ResultRow.id.desc())
            .limit(1)
        ).first()
        if latest is None:
            return None
        first = scored.with_only_columns(func.min(ResultRow.scored_at)).where(ResultRow.bundle_id == latest.bundle_id)
        began = connection.scalars(first).one()
    return Stream(latest.bundle_id, latest.bundle_version, began)


def stream_rows(
    store: ResultStore,
    line: str,
    bundle_id: str,
    *,
    after: int,
    before: int | None = None,
    limit: int,
    last: bool = False,
) -> list[StreamRow]:
    """Rows of a stream, the oldest first.

    Args:
        store: to read.
        line: the line's name.
        bundle_id: of the stream.
        after: only rows of a larger id.
        before: only rows of a smaller one; None: all.
        limit: so many at most.
        last: the last of them; else the first.
    """
    chosen = select(*_COLUMNS).where(ResultRow.line == line, ResultRow.bundle_id == bundle_id, ResultRow.id > after)
    if before is not None:
        chosen = chosen.where(ResultRow.id < before)
    order = ResultRow.id.desc() if last else ResultRow.id
    with store.reading() as connection:
        found = connection.execute(
            chosen.where(ResultRow.status == ResultStatus.SCORED).order_by(order).limit(limit)
        ).all()
    rows = [StreamRow(*row) for row in found]
    return rows[::-1] if last else rows


def drift_state(store: ResultStore, line: str) -> DriftState | None:
    """How far a line was watched; None: never."""
    with store.reading() as connection:
        return _state(connection, line)


def _state(connection: Connection, line: str) -> DriftState | None:
    columns = [_STATES.c[name] for name in DriftState._fields]
    row = connection.execute(select(*columns).where(_STATES.c.line == line)).first()
    return None if row is None else DriftState(*row)


def keep_drift(
    store: ResultStore, line: str, known: DriftState | None, now: DriftState, alarms: Sequence[NewAlarm]
) -> bool:
    """Note how far a line was watched, and the alarms, together; False: someone else watched it meanwhile.

    Args:
        store: to write.
        line: the line's name.
        known: what `drift_state` said before; nothing is noted where it says something else by now.
        now: what it is to say.
        alarms: of the images in between.
    """
    with store.writing() as connection:
        if (there := _state(connection, line)) is None:
            connection.execute(insert(DriftStateRow).values(line=line, **now._asdict()))
        elif known is None or (there.bundle_id, there.row_id) != (known.bundle_id, known.row_id):
            return False
        else:
            same = (_STATES.c.line == line) & (_STATES.c.row_id == known.row_id)
            if connection.execute(update(DriftStateRow).where(same).values(**now._asdict())).rowcount == 0:
                return False
        if alarms:
            connection.execute(insert(DriftAlarmRow), [alarm._asdict() for alarm in alarms])
    return True


def drift_alarms(store: ResultStore, line: str | None = None, *, untold: bool = False) -> list[DriftAlarmRow]:
    """Alarms of a line, or of all, the latest first; with `untold` those that nobody was told of yet."""
    statement = select(DriftAlarmRow).order_by(DriftAlarmRow.noticed_at.desc(), DriftAlarmRow.id.desc())
    if line is not None:
        statement = statement.where(DriftAlarmRow.line == line)
    if untold:
        statement = statement.where(DriftAlarmRow.told_at.is_(None))
    with store.session() as session:
        return list(session.scalars(statement))


def alarm_facts(alarm: DriftAlarmRow) -> dict[str, Any]:
    """What programs are told of an alarm, as JSON has it: an event's payload, and the command's `--json`."""
    return {
        "id": alarm.id,
        "statistic": alarm.statistic,
        "words": alarm.words,
        "change": alarm.change,
        "since": alarm.since.isoformat(),
        "noticed_at": alarm.noticed_at.isoformat(),
        "bundle_version": alarm.bundle_version,
    }


def note_told(store: ResultStore, alarms: Sequence[DriftAlarmRow]) -> None:
    """Note that alarms were told."""
    told = update(DriftAlarmRow).where(_ALARMS.c.id.in_([alarm.id for alarm in alarms]), _ALARMS.c.told_at.is_(None))
    with store.writing() as connection:
        connection.execute(told.values(told_at=datetime.now(UTC)))


def acknowledge(store: ResultStore, line: str, by: str | None) -> int:
    """Note that a person has seen a line's alarms; return how many were new to them."""
    seen = update(DriftAlarmRow).where(_ALARMS.c.line == line, _ALARMS.c.acknowledged_at.is_(None))
    with store.writing() as connection:
        return connection.execute(seen.values(acknowledged_at=datetime.now(UTC), acknowledged_by=by)).rowcount
