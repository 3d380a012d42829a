"""`linewise up`: a Prefect server, all that it needs, a worker and the review page, as background processes here."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from deploy.bundles.manifest import linewise_version
from flows.doctor.checks import server_health
from flows.plant.chosen_server import ChosenServer, answers, choose_server, environment_of, refuse_taken_port
from flows.plant.pages import page_address, page_answers, pages_port, refuse_taken_pages_port, require_pages_extra
from flows.plant.process_identity import find_process
from flows.plant.started_parts import Part, PlantFolder, Started
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.storage import storage_errors

PATIENCE_SECONDS = 300.0
"""How long server and worker may take until they serve: seconds on an idle machine, minutes on a loaded one."""
_BETWEEN_LOOKS = 0.3

MARK = "LINEWISE_PLANT"
"""Variable of a worker, and so of its runs: `down` finds those by it that outlived a worker that was killed."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class PlantUp:
    """A plant that works.

    Args:
        choice: its server.
        server: the server's process; None: it runs elsewhere.
        worker: the worker's process.
        pages: the review page's process; None: it could not be started.
        began: what was not running before.
        registered: deployments that are new.
        renewed: deployments of an older Linewise that follow this one now.
    """

    choice: ChosenServer
    server: Started | None
    worker: Started
    pages: Started | None = None
    began: tuple[Part, ...] = ()
    registered: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()


def bring_up(settings: Settings, *, port: int | None = None, review_port: int | None = None, say: Say) -> PlantUp:
    """Start what does not run of a plant, and wait until it serves. The environment of this process becomes its own.

    Args:
        settings: of the home that the plant belongs to.
        port: see `choose_server`.
        review_port: of the review page; None: the one it has, or its default.
        say: is told what is waited for.

    Raises:
        ConfigError: the port is taken, something does not start, or what runs contradicts what is asked for.
        StorageError: the home cannot be written, or another `up` or `down` is at work.
    """
    if find_spec("prefect") is None:  # found, not imported: its settings would be those of before
        raise ConfigError("Prefect, for server and worker", "none installed", "run pip install 'linewise[full]'")
    folder = PlantFolder(settings.ensure_home())
    with folder.locked():
        choice = choose_server(folder, port)
        worker = folder.running(Part.WORKER)
        if worker is not None and worker.api != choice.shown:
            raise ConfigError(f"a worker for {choice.shown}", f"one for {worker.api}", "run `linewise down` first")
        os.environ.update(environment_of(choice, folder))
        server, new_server = _server(choice, folder, say)
        _resume_pool(folder, say)
        registered, renewed, new_worker = (), (), worker is None
        if worker is None:
            # Not before: Prefect takes its settings from the environment when it is imported.
            registered, renewed = import_module("flows.bootstrap").set_up_server()
            worker = _start_worker(choice, folder, say)
        pages, new_pages = _pages(folder, review_port, say)
        began = {Part.SERVER: new_server, Part.WORKER: new_worker, Part.PAGES: new_pages}
        return PlantUp(
            choice=choice,
            server=server,
            worker=worker,
            pages=pages,
            began=tuple(part for part, new in began.items() if new),
            registered=tuple(registered),
            renewed=tuple(renewed),
        )


def _pages(folder: PlantFolder, port: int | None, say: Say) -> tuple[Started | None, bool]:
    """The review page, serving, and whether it is new; none where it cannot be started: that is said, and no more,
    as nothing else of the plant needs it.
    """
    try:
        before = folder.running(Part.PAGES)
        port = pages_port(folder.started(Part.PAGES), port, runs=before is not None)
        if before is not None:
            return before, False
        require_pages_extra()
        refuse_taken_pages_port(port)
        say("Starting the review page")
        started = _start(Part.PAGES, folder, ("flows.cli", "review", "--port", str(port)), page_address(port))
        _wait_for(Part.PAGES, started, lambda: page_answers(started.api))
    except ConfigError as error:
        if folder.running(Part.PAGES) is None:
            folder.forget(Part.PAGES)
        say(f"No review page: {error}")
        return None, False
    return started, True


def _server(choice: ChosenServer, folder: PlantFolder, say: Say) -> tuple[Started | None, bool]:
    """The plant's own server, serving, and whether it is new; none of its own where one runs elsewhere."""
    if choice.port is None:
        folder.forget(Part.SERVER)  # one that died while the plant had its own
        server_health(choice.api)
        return None, False
    server, new = folder.running(Part.SERVER), False
    if server is None:
        refuse_taken_port(choice.port)
        say("Starting the Prefect server")
        server, new = _start(Part.SERVER, folder, ("prefect", "server", "start"), choice.shown), True
    _wait_for(Part.SERVER, server, lambda: answers(choice.api))
    return server, new


def _resume_pool(folder: PlantFolder, say: Say) -> None:
    """Let runs be taken again, where a `down` that did not come to its end left the pool paused."""
    noted = folder.started(Part.WORKER)
    if noted is not None and noted.paused_pool:
        import_module("flows.plant.served").resume_pool()
        folder.note(Part.WORKER, noted.model_copy(update={"paused_pool": False}))
        say("An earlier `linewise down` was not finished: the worker takes runs again")


def _start_worker(choice: ChosenServer, folder: PlantFolder, say: Say) -> Started:
    say("Starting the worker")
    name = worker_name(folder)
    served = import_module("flows.plant.served")
    if left := import_module("flows.plant.unstarted_runs").crash_unstarted_runs(name):
        say(f"Runs that the worker before this one took and never started: {left}, now crashed")
    if left := import_module("flows.plant.unstarted_runs").crash_tasks_of_ended_runs():
        say(f"Tasks that were left of runs that have ended: {left}, now crashed")
    before = served.last_heartbeat(name)
    arguments = ("prefect", "worker", "start", "--pool", served.WORK_POOL, "--type", "process", "--name", name)
    worker = _start(Part.WORKER, folder, arguments, choice.shown, name=name)
    _wait_for(Part.WORKER, worker, lambda: served.last_heartbeat(name) != before)
    return worker


def worker_name(folder: PlantFolder) -> str:
    """As the server calls the worker of this home on this machine."""
    return f"linewise-{platform.node()}-{hashlib.sha256(os.fsencode(folder.path)).hexdigest()[:6]}"


def _start(part: Part, folder: PlantFolder, arguments: tuple[str, ...], api: str, name: str | None = None) -> Started:
    """Start a Python module with its arguments, detached from this terminal, and note it."""
    log = folder.log(part)
    with storage_errors(log):
        if log.exists():
            log.replace(log.with_suffix(".log.before"))
        with log.open("xb") as output:
            child = subprocess.Popen(  # noqa: S603  # our own arguments
                [sys.executable, "-P", "-m", *arguments],
                cwd=folder.path,
                env=os.environ | {MARK: str(folder.path) if part is Part.WORKER else ""},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    process = find_process(child.pid)
    if process is None:
        raise _did_not_start(part, log)
    started = Started(
        pid=process.pid,
        began=process.began,
        since=datetime.now(UTC),
        api=api,
        name=name,
        log=log,
        linewise=linewise_version(),
    )
    folder.note(part, started)
    return started


def _wait_for(part: Part, started: Started, serves: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not serves():
        if not started.process.runs():
            raise _did_not_start(part, started.log)
        if time.monotonic() >= deadline:
            waited = f"none after {PATIENCE_SECONDS:.0f} s"
            raise ConfigError(
                f"a sign of life of the {part}", waited, f"look into {started.log}, or `linewise down --now`"
            )
        time.sleep(_BETWEEN_LOOKS)


def _did_not_start(part: Part, log: Path) -> ConfigError:
    said = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(said) if line.strip()), "nothing")
    return ConfigError(f"the {part} to start", f"its end with '{last}'", f"look into {log}")
