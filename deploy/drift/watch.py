"""Watching a line: new rows of its stream to the detector, what it notices into the store as alarms with words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from deploy.drift.block import LEARNED, block_of
from deploy.drift.detector import Detector, Noticed
from deploy.drift.onset import onset
from deploy.drift.policy import DriftSettings
from deploy.drift.words import tell
from deploy.results.drift_rows import (
    DriftState,
    NewAlarm,
    Stream,
    StreamRow,
    drift_state,
    keep_drift,
    stream_of,
    stream_rows,
)
from deploy.results.store import ResultStore

_AT_ONCE = 4096  # rows
_COMPARED = 200  # images before a change that it is told from
_SHOWN = 3
_YEAR = timedelta(days=365)
_LEAST_SPAN = timedelta(days=1)  # a pace is no faster than its first day's images: a folder is scored at once
_LEAST_IMAGES = 1000


class Watched(NamedTuple):
    """What a look at a line's stream gave: new images that were looked at, all of the stream, and new alarms.

    `images_per_alarm`: that there are at least, on average, while nothing changes.
    """

    line: str
    new: int
    images: int
    images_per_alarm: float
    alarms: tuple[NewAlarm, ...]


def watch_line(store: ResultStore, line: str, settings: DriftSettings) -> Watched | None:
    """Look at what came since the last time, and note it; None where nothing was scored, or another does it now.

    A line that another bundle scores begins anew: its scores, and the size at which it is looked at, are others.

    Raises:
        StorageError: the store cannot be read or written.
    """
    if (stream := stream_of(store, line)) is None:
        return None
    known = drift_state(store, line)
    detector, row_id, images = _resumed(store, line, known, stream, settings.block)
    if detector is None:
        return Watched(line, 0, 0, images_per_alarm(0, stream, datetime.now(UTC), settings), ())
    rate, new, alarms = images_per_alarm(images, stream, datetime.now(UTC), settings), 0, list[NewAlarm]()
    while rows := _whole_blocks(store, line, stream, row_id, detector.block):
        rate = images_per_alarm(images + len(rows), stream, rows[-1].scored_at, settings)
        noticed = detector.take(rows, images_per_alarm=rate, seed=(int(stream.bundle_id[:8], 16), row_id))
        for found in noticed:
            if (alarm := _alarm(store, line, stream, found)) is not None:
                detector.told(found)
                alarms.append(alarm)
        row_id, images, new = rows[-1].id, images + len(rows), new + len(rows)
    if new:
        now = DriftState(stream.bundle_id, row_id, images, detector.packed(), datetime.now(UTC))
        if not keep_drift(store, line, known, now, alarms):
            return None
    return Watched(line, new, images, rate, tuple(alarms))


def images_per_alarm(images: int, stream: Stream, now: datetime, settings: DriftSettings) -> float:
    """What the stated rate of false alarms is in images, at the pace of the stream so far."""
    a_year = images * (_YEAR / max(now - stream.began, _LEAST_SPAN))
    return max(a_year / settings.alarms_a_year, _LEAST_IMAGES)


def _resumed(
    store: ResultStore, line: str, known: DriftState | None, stream: Stream, block: int | None
) -> tuple[Detector | None, int, int]:
    """The detector, the row that it saw last, and how many it saw; no detector: too few images to choose a block."""
    if known is not None and known.bundle_id == stream.bundle_id:
        detector = Detector.unpacked(known.state)
        if block in (None, detector.block):
            return detector, known.row_id, known.images
    if block is None:
        first = stream_rows(store, line, stream.bundle_id, after=0, limit=LEARNED)
        return (Detector(block_of(first)) if len(first) == LEARNED else None), 0, 0
    return Detector(block), 0, 0


def _whole_blocks(store: ResultStore, line: str, stream: Stream, after: int, block: int) -> list[StreamRow]:
    rows = stream_rows(store, line, stream.bundle_id, after=after, limit=max(_AT_ONCE, block))
    return rows[: len(rows) // block * block]


def _alarm(store: ResultStore, line: str, stream: Stream, found: Noticed) -> NewAlarm | None:
    """The alarm of a change; None: it is too small to be one, also together with those before it that were."""
    known, noticed = (found.first - 1, found.since), (found.since - 1, found.last + 1)
    earlier = stream_rows(store, line, stream.bundle_id, after=known[0], before=known[1], limit=_COMPARED, last=True)
    later = stream_rows(store, line, stream.bundle_id, after=noticed[0], before=noticed[1], limit=_AT_ONCE)
    rows = [*earlier, *later]
    begins = onset(found.statistic, rows, expected=len(earlier))
    before, after = rows[:begins], rows[begins:]
    told, since = tell(found.statistic, before, after), after[0].scored_at
    if not told.matters:
        anchored = (found.anchor - 1, found.since)
        old = stream_rows(store, line, stream.bundle_id, after=anchored[0], before=anchored[1], limit=_COMPARED)
        before = old or before
        told, since = tell(found.statistic, before, after), before[-1].scored_at if before else since
    if not told.matters:
        return None
    return NewAlarm(
        line=line,
        bundle_id=stream.bundle_id,
        bundle_version=stream.bundle_version,
        statistic=found.statistic,
        since=since,
        noticed_at=after[-1].scored_at,
        change=told.change,
        words=told.words,
        before=_paths(before),
        after=_paths(after),
    )


def _paths(rows: Sequence[StreamRow]) -> list[str]:
    """Of the last few images."""
    return [row.image_path for row in rows[-_SHOWN:]]
