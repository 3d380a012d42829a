"""Tending a plant's lines as a job: each line that is due is adapted, and what comes of it goes through the gate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from flows.adapt import job as adapt_job
from flows.adapt.job import AdaptResult
from flows.adapt.request import AdaptRequest
from flows.life.due_lines import Due, Waiting, look_at
from flows.life.line_folders import line_folders
from flows.life.line_notes import (
    LineNote,
    ask_holder,
    begin_to_look,
    end_of_look,
    is_asked_for,
    is_first_sight,
    tending,
    write_note,
)
from flows.life.request import TendRequest
from flows.progress import OnProgress, Progress, ignore_progress
from pipeline.errors import LinewiseError, StorageError
from pipeline.settings import Settings
from pipeline.storage import plain_storage_error

_MOST_WAITS = 10
Adapt = Callable[[AdaptRequest], AdaptResult]
"""Runs an adaptation: the job itself, or a flow around it."""


class Outcome(StrEnum):
    """What became of a line."""

    PROMOTED = "promoted"
    HELD = "held"
    WAITING = "waiting"
    BUSY = "tended by another process"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class TendedLine:
    """What became of a line at a look, and why; `version`: that was made of it, None: none was.

    `again_in`: seconds after which it need not wait any longer, None: nobody knows.
    """

    name: str
    outcome: Outcome
    why: str
    version: str | None = None
    again_in: float | None = None


@dataclass(frozen=True, kw_only=True)
class TendResult:
    """What became of each line of a folder; one that was asked for again meanwhile may stand there twice."""

    folder: Path
    lines: tuple[TendedLine, ...]

    def of(self, *outcomes: Outcome) -> list[TendedLine]:
        """The lines with one of these outcomes."""
        return [line for line in self.lines if line.outcome in outcomes]


def run(request: TendRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> TendResult:
    """Tend every line of the folder, or the one asked for; one that fails does not stop the others.

    Run again it does nothing, until something changed.

    Raises:
        LineError: no such folder.
        StorageError: it, or the home, cannot be used.
    """
    return tend_lines(request, settings, lambda one: adapt_job.run(one, settings, on_progress), on_progress)


def tend_lines(
    request: TendRequest,
    settings: Settings,
    adapt: Adapt,
    on_progress: OnProgress = ignore_progress,
    on_new: Callable[[str], None] | None = None,
) -> TendResult:
    """As `run`, with another way to adapt.

    `on_new` is told of each line that nobody met before, as whoever is told has it adapted to beside the others: of
    those that are there before any adaptation, and of those that appeared meanwhile after each line, which are left to
    whoever was told. Where nobody is, they are new to the next run.
    """
    settings.ensure_home()
    found = _lines_asked_for(request)
    _tell_of_new(found, settings, on_new)
    lines: list[TendedLine] = []
    for done, (name, path) in enumerate(found.items()):
        on_progress(Progress(stage="tend the lines", done=done, total=len(found)))
        lines += _tend_once_quiet(name, path, request, settings, adapt)
        if on_new is not None:
            with suppress(LinewiseError):  # a folder or home that cannot be read for now: what a line's look says
                _tell_of_new(_lines_asked_for(request), settings, on_new)
    on_progress(Progress(stage="tend the lines", done=len(found), total=len(found)))
    return TendResult(folder=request.folder, lines=tuple(lines))


def _lines_asked_for(request: TendRequest) -> dict[str, Path]:
    found = line_folders(request.folder)
    if request.line is None:
        return found
    within = f"{request.line}/"
    return {name: path for name, path in found.items() if name == request.line or name.startswith(within)}


def _tell_of_new(found: Iterable[str], settings: Settings, on_new: Callable[[str], None] | None) -> None:
    for name in found:
        if is_first_sight(settings, name) and on_new is not None:
            on_new(name)


def _tend_once_quiet(
    name: str, folder: Path, request: TendRequest, settings: Settings, adapt: Adapt
) -> list[TendedLine]:
    """As `_tend`; of the only line that is asked for its images may still be coming, and are waited for."""
    for _ in range(_MOST_WAITS if request.line is not None else 0):
        tended = _tend(name, folder, request, settings, adapt)
        if (again_in := tended[-1].again_in) is None:
            return tended
        time.sleep(again_in)
    return _tend(name, folder, request, settings, adapt)


def _tend(name: str, folder: Path, request: TendRequest, settings: Settings, adapt: Adapt) -> list[TendedLine]:
    """Look at one line, and again as often as somebody asked for it meanwhile.

    Where another process is at it, that one looks again for the only line that is asked for: nobody waits for it, with
    a place that other lines need. All lines of a folder are asked for by a schedule, which comes again.
    """
    looks, asked = list[TendedLine](), False
    while True:
        try:
            with tending(settings, name) as ours:
                if ours:
                    look = _look(name, folder, request, settings, adapt)
                    if not looks or look.outcome is not Outcome.WAITING:  # another look that finds nothing is no news
                        looks.append(look)
            if not ours and request.line is not None and not (asked or looks):
                ask_holder(settings, name, drifted=request.drifted)
                asked = True
            elif not ours:
                again = ", and looks at it again afterwards" if asked else ""
                busy = TendedLine(name=name, outcome=Outcome.BUSY, why=f"another process adapts it{again}")
                return looks or [busy]
            elif not is_asked_for(settings, name):
                return looks
        except (LinewiseError, OSError) as error:
            return [*looks, TendedLine(name=name, outcome=Outcome.FAILED, why=str(_sentence(error)))]


def _look(name: str, folder: Path, request: TendRequest, settings: Settings, adapt: Adapt) -> TendedLine:
    """Look at one line, and adapt to it if that is due.

    Raises:
        StorageError: the home cannot be written.
    """
    drifted = begin_to_look(settings, name, drifted=request.drifted)
    try:
        found = look_at(name, folder, request.model_copy(update={"drifted": drifted}), settings)
        if isinstance(found, Waiting):
            end_of_look(settings, name)
            return TendedLine(name=name, outcome=Outcome.WAITING, why=found.why, again_in=found.again_in)
        return _adapted(name, found, settings, adapt)
    except (LinewiseError, OSError) as error:
        return TendedLine(name=name, outcome=Outcome.FAILED, why=str(_sentence(error)))


def _adapted(name: str, due: Due, settings: Settings, adapt: Adapt) -> TendedLine:
    """Adapt, and remember how it ended; trouble with a disk is tried again soon, a user's mistake when it is mended."""
    write_note(settings, name, due.note)
    end_of_look(settings, name)
    try:
        result = adapt(due.request)
    except (LinewiseError, OSError) as error:
        sentence = _sentence(error)
        if not isinstance(sentence, StorageError):
            write_note(settings, name, _ended(due.note, str(sentence)))
        raise sentence from error
    write_note(settings, name, _ended(due.note))
    version = result.bundle.manifest.version
    if result.gate is not None and result.gate.reasons:
        return TendedLine(name=name, outcome=Outcome.HELD, why=result.gate.sentence, version=version)
    return TendedLine(name=name, outcome=Outcome.PROMOTED, why=due.why, version=version)


def _ended(note: LineNote, problem: str | None = None) -> LineNote:
    return note.model_copy(update={"at": datetime.now(UTC), "ended": True, "problem": problem})


def _sentence(error: LinewiseError | OSError) -> LinewiseError:
    """The error as a sentence.

    Raises:
        OSError: nobody has words for it.
    """
    sentence = error if isinstance(error, LinewiseError) else plain_storage_error(error)
    if sentence is None:
        raise error
    return sentence
