"""`linewise down`: end the worker, then the server, and whatever the worker began."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass

from flows.plant.plant_folder import Part, PlantFolder, Started
from flows.plant.process_identity import Process
from flows.plant.up import Say
from pipeline.errors import StorageError
from pipeline.settings import Settings

_TOLD_AFTER = 3.0
_RUNS_SECONDS = 20.0
"""How long runs that are told to end have to tell the server so."""
_SERVER_SECONDS = 60.0
_KILLED_SECONDS = 20.0
_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True, kw_only=True)
class PlantDown:
    """What was ended, and what of it had to be killed."""

    ended: tuple[Part, ...] = ()
    killed: tuple[Part, ...] = ()


def bring_down(settings: Settings, *, now: bool = False, say: Say) -> PlantDown:
    """End what `up` started; what it did not start stays.

    Args:
        settings: of the plant's home.
        now: end the runs, too; without it the worker takes no more, and ends with its last run.
        say: is told what is waited for.

    Raises:
        StorageError: another `up` or `down` is at work, or a process does not end.
    """
    folder = PlantFolder(settings.home)
    if not folder.path.is_dir():
        return PlantDown()
    ended: list[Part] = []
    killed: list[Part] = []
    with folder.locked():
        for part in (Part.WORKER, Part.SERVER):
            started = folder.started(part)
            if started is None:
                continue
            if started.process.runs():
                ended.append(part)
                if not (_end_worker(started, folder, now, say) if part is Part.WORKER else _end_server(started)):
                    killed.append(part)
            folder.forget(part)
    return PlantDown(ended=tuple(ended), killed=tuple(killed))


def _end_worker(started: Started, folder: PlantFolder, now: bool, say: Say) -> bool:
    """Whether the worker and all that it began ended by themselves."""
    worker, family = started.process, _Family(started.process)
    if not started.stopping:  # Prefect's worker takes a second signal for an order to die, and leaves its runs behind
        folder.note(Part.WORKER, started.model_copy(update={"stopping": True}))
        worker.send(signal.SIGTERM)
    began, told = time.monotonic(), False
    while not now and family.runs():
        if not told and time.monotonic() - began > _TOLD_AFTER:
            told = True
            say("Waiting for the runs that the worker has begun; Ctrl-C, then `linewise down --now` ends them")
        time.sleep(_BETWEEN_LOOKS)
    if family.send(signal.SIGTERM, but=worker):  # a run tells the server that it was ended
        family.ends_within(_RUNS_SECONDS)
    return _kill(family, Part.WORKER)


def _end_server(started: Started) -> bool:
    """Whether it ended by itself."""
    family = _Family(started.process)
    started.process.send(signal.SIGTERM)
    family.ends_within(_SERVER_SECONDS)
    return _kill(family, Part.SERVER)


def _kill(family: _Family, part: Part) -> bool:
    """Kill what still runs; whether there was nothing to kill.

    Raises:
        StorageError: it does not end.
    """
    if not family.send(signal.SIGKILL):
        return True
    if not family.ends_within(_KILLED_SECONDS):
        pids = ", ".join(str(process.pid) for process in sorted(family.running(), key=lambda process: process.pid))
        raise StorageError(
            f"the {part} to end", f"processes that do not: {pids}", "wait for the disk that they wait for"
        )
    return False


class _Family:
    """A process and all that it began while it was watched; children of a dead one are not found any more."""

    def __init__(self, head: Process) -> None:
        self._head = head
        self._known = {head}

    def running(self) -> set[Process]:
        """Those that run."""
        for process in list(self._known):
            if process.runs():
                self._known |= process.descendants()
            else:
                self._known.discard(process)
        return set(self._known)

    def runs(self) -> bool:
        """Whether any of them does."""
        return bool(self.running())

    def send(self, number: signal.Signals, *, but: Process | None = None) -> bool:
        """Send all of them, but one, a signal; whether there was one to get it."""
        reached = [process.send(number) for process in self.running() if process != but]
        return any(reached)

    def ends_within(self, seconds: float) -> bool:
        """Whether all ended in time."""
        deadline = time.monotonic() + seconds
        while self.runs():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_BETWEEN_LOOKS)
        return True
