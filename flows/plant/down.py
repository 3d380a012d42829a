"""`linewise down`: end the review page, the worker, then the server, and whatever the worker began."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from flows.plant.chosen_server import answers, environment_of, server_in_use
from flows.plant.process_identity import Process, marked_processes
from flows.plant.started_parts import Part, PlantFolder, Started
from flows.plant.up import MARK, Say
from pipeline.errors import ConfigError, StorageError
from pipeline.settings import Settings

_TOLD_AFTER = 3.0
_RUNS_SECONDS = 20.0
"""How long runs that are told to end have to tell the server so."""
_WORKER_SECONDS = 60.0
_SERVER_SECONDS = 60.0
_KILLED_SECONDS = 20.0
_BETWEEN_LOOKS = 0.2


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
        ConfigError: the server does not let runs be waited for.
    """
    folder = PlantFolder(settings.home)
    if not folder.path.is_dir():
        return PlantDown()
    ended: list[Part] = []
    killed: list[Part] = []
    with folder.locked():
        for part in (Part.PAGES, Part.WORKER, Part.SERVER):
            started = folder.started(part)
            if started is None:
                continue
            family = _Family(
                started.process, marked_processes(MARK, str(folder.path)) if part is Part.WORKER else set()
            )
            if family.running():
                ended.append(part)
                if part is Part.WORKER:
                    _tell_worker(started, folder, family, now, say)
                else:
                    started.process.send(signal.SIGTERM)
                    family.ends_within(_SERVER_SECONDS)
                if _kill(family, part):
                    killed.append(part)
            if part is Part.WORKER:
                _resume_pool(folder, say)
            folder.forget(part)
    return PlantDown(ended=tuple(ended), killed=tuple(killed))


def _tell_worker(started: Started, folder: PlantFolder, family: _Family, now: bool, say: Say) -> None:
    """Tell the worker to end, after its runs have.

    At a signal Prefect's worker kills its runs, and the server takes them for running on.
    """
    worker = started.process
    served = _paused_pool(started, folder, now, say)
    if served is None:
        say("The server cannot be asked about runs: the worker's end with it")
    elif not now:
        _wait_for_runs(family, worker, served, say)
    if family.send(signal.SIGTERM, but=worker):  # a run tells the server that it was ended
        family.ends_within(_RUNS_SECONDS, but=worker)
    worker.send(signal.SIGTERM)
    family.ends_within(_WORKER_SECONDS)


def _paused_pool(started: Started, folder: PlantFolder, now: bool, say: Say) -> ModuleType | None:
    """`flows.plant.served`, after the pool was told to let no more runs be taken; None: no server was there to tell.

    That it was told, and not by a person, is noted: whatever becomes of this command, the next one lets runs be taken.

    Raises:
        ConfigError: the server refuses, and runs that go on are not to be ended.
    """
    served = _served(folder)
    if served is None or started.paused_pool:
        return served
    try:
        folder.note(Part.WORKER, started.model_copy(update={"paused_pool": True}))
        if not served.pause_pool():
            folder.note(Part.WORKER, started)
    except ConfigError as error:  # it wants a login
        folder.note(Part.WORKER, started)
        if not now:
            raise
        say(str(error))
        return None
    return served


def _resume_pool(folder: PlantFolder, say: Say) -> None:
    noted = folder.started(Part.WORKER)
    if noted is None or not noted.paused_pool or (served := _served(folder)) is None:
        return
    try:
        served.resume_pool()
    except ConfigError as error:
        say(str(error))


def _served(folder: PlantFolder) -> ModuleType | None:
    """`flows.plant.served` where the server answers."""
    server = server_in_use(folder)
    if server is None or not answers(server.api):
        return None
    os.environ.update(environment_of(server, folder))
    return import_module("flows.plant.served")  # not before: Prefect takes its settings from the environment


def _wait_for_runs(family: _Family, worker: Process, served: ModuleType, say: Say) -> None:
    began, told = time.monotonic(), False
    while family.running() - {worker} or (worker.runs() and served.runs_beginning()):
        if not told and time.monotonic() - began > _TOLD_AFTER:
            told = True
            say(
                "Waiting for the runs that have begun, no more are taken. After Ctrl-C, `linewise down --now` ends "
                "them, and `linewise up` lets more be taken"
            )
        time.sleep(_BETWEEN_LOOKS)


def _kill(family: _Family, part: Part) -> bool:
    """Kill what still runs; whether there was something to kill.

    Raises:
        StorageError: it does not end.
    """
    if not family.send(signal.SIGKILL):
        return False
    if not family.ends_within(_KILLED_SECONDS):
        pids = ", ".join(str(process.pid) for process in sorted(family.running(), key=lambda process: process.pid))
        raise StorageError(
            f"the {part} to end", f"processes that do not: {pids}", "wait for the disk that they wait for"
        )
    return True


class _Family:
    """A process with all that it began, as far as its parents lived when they were looked for; and others of it.

    Args:
        head: the process.
        others: those of its family that are known already.
    """

    def __init__(self, head: Process, others: set[Process]) -> None:
        self._known = {head, *others}

    def running(self) -> set[Process]:
        """Those that run."""
        for process in list(self._known):
            if process.runs():
                self._known |= process.descendants()
            else:
                self._known.discard(process)
        return set(self._known)

    def send(self, number: signal.Signals, *, but: Process | None = None) -> bool:
        """Send all of them, but one, a signal; whether there was one to get it."""
        reached = [process.send(number) for process in self.running() if process != but]
        return any(reached)

    def ends_within(self, seconds: float, *, but: Process | None = None) -> bool:
        """Whether all, but one, ended in time."""
        deadline = time.monotonic() + seconds
        while self.running() - {but}:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_BETWEEN_LOOKS)
        return True
