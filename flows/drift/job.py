"""A look at the streams of all lines: the sequential test over new rows, alarms into the store, each told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.drift.policy import DriftPolicy, read_drift_settings
from deploy.drift.watch import Watched, watch_line
from deploy.results.drift_rows import drift_alarms, note_told, scored_lines
from deploy.results.schema import DriftAlarmRow
from deploy.results.store import ResultStore
from flows.drift.request import WatchDriftRequest
from flows.progress import OnProgress, Progress, ignore_progress
from pipeline.errors import ConfigError
from pipeline.settings import Settings


@dataclass(frozen=True, kw_only=True)
class LineAlarms:
    """A line's alarms that nobody was told of yet, the latest first, and what its policy says of them."""

    line: str
    policy: DriftPolicy
    alarms: tuple[DriftAlarmRow, ...]


@dataclass(frozen=True, kw_only=True)
class WatchDriftResult:
    """What was looked at, and what is to be told: also alarms that an earlier run did not come to tell."""

    watched: tuple[Watched, ...]
    untold: tuple[LineAlarms, ...]


def run(request: WatchDriftRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> WatchDriftResult:
    """Look at what is new of every line. Whoever tells the alarms says so by `told`.

    Raises:
        ConfigError: the line asked for was never scored; a line's settings cannot be read.
        StorageError: the store cannot be read or written.
    """
    watched: list[Watched] = []
    untold: list[LineAlarms] = []
    with ResultStore(settings.database) as store:
        lines = _lines(store, request)
        for number, line in enumerate(lines, 1):
            drift = read_drift_settings(settings.home, line)
            if (found := watch_line(store, line, drift)) is not None:
                watched.append(found)
            if alarms := drift_alarms(store, line, untold=True):
                untold.append(LineAlarms(line=line, policy=drift.policy, alarms=tuple(alarms)))
            on_progress(Progress(stage="watch", done=number, total=len(lines)))
    return WatchDriftResult(watched=tuple(watched), untold=tuple(untold))


def told(alarms: Sequence[DriftAlarmRow], settings: Settings) -> None:
    """Note that alarms were told, so that they are told no more.

    Raises:
        StorageError: the store cannot be written.
    """
    with ResultStore(settings.database) as store:
        note_told(store, alarms)


def _lines(store: ResultStore, request: WatchDriftRequest) -> list[str]:
    lines = scored_lines(store)
    if request.line is None:
        return lines
    if request.line not in lines:
        raise ConfigError("a line that was scored", f"no image of {request.line!r}", "check its name, or score first")
    return [request.line]
