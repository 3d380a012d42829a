"""`linewise status`: whether the plant works, what it does, and what is wrong, one sentence for each thing."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from deploy.bundles.manifest import linewise_version
from flows.doctor.checks import server_health
from flows.plant.chosen_server import ChosenServer, environment_of, server_in_use
from flows.plant.line_activity import LineActivity, line_activities
from flows.plant.pages import page_answers
from flows.plant.started_parts import Part, PlantFolder, Started
from pipeline.errors import LinewiseError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from flows.plant.served import Served

HOURS = 24.0
"""How far back failed runs are told."""


@dataclass(frozen=True, kw_only=True)
class PartState:
    """What `up` started, whether it runs, and whether its page answers (None: it is no page, or has ended)."""

    part: Part
    started: Started
    runs: bool
    answers: bool | None = None


@dataclass(frozen=True, kw_only=True)
class PlantStatus:
    """Everything `linewise status` found.

    Args:
        versions: of Linewise, Python and Prefect; None: not installed.
        parts: what `up` started: server, worker, review page.
        api: the server's address; None: none is in use.
        health: how it answers; None: it does not.
        served: what it says; None: it could not be asked.
        lines: of the home.
        silent_after: hours after which a line without a score counts as silent; None: never.
        problems: what is wrong.
    """

    versions: dict[str, str | None]
    parts: tuple[PartState, ...]
    api: str | None
    health: str | None
    served: Served | None
    lines: tuple[LineActivity, ...]
    silent_after: float | None
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary with keys that stay."""
        return {
            "healthy": not self.problems,
            "problems": list(self.problems),
            "versions": self.versions,
            **{part.key: self._part(part) for part in Part},
            "api": {"address": self.api, "health": self.health},
            "served": None if self.served is None else _plain(asdict(self.served)),
            "silent_after_hours": self.silent_after,
            "lines": [_plain(asdict(line)) for line in self.lines],
        }

    def _part(self, part: Part) -> dict[str, Any] | None:
        found = next((state for state in self.parts if state.part is part), None)
        if found is None:
            return None
        answers = {} if found.answers is None else {"answers": found.answers}
        return {"runs": found.runs, **answers, **found.started.model_dump(mode="json")}


def plant_status(settings: Settings, *, silent_after: float | None = None) -> PlantStatus:
    """Look at everything. Nothing that is wrong raises: it is among the problems.

    Args:
        settings: of the plant's home.
        silent_after: hours after which a live line counts as silent.
    """
    problems: list[str] = []
    folder = PlantFolder(settings.home)
    parts = _parts(folder, problems)
    server = _server(folder, problems)
    health = _health(server, problems)
    served = _ask(problems) if health is not None else None
    if served is not None:
        problems += _served_problems(served, parts)
    lines = _lines(settings, problems)
    problems += _silent(lines, silent_after)
    return PlantStatus(
        versions={"linewise": linewise_version(), "python": platform.python_version(), "prefect": _prefect_version()},
        parts=parts,
        api=None if server is None else server.shown,
        health=health,
        served=served,
        lines=lines,
        silent_after=silent_after,
        problems=tuple(problems),
    )


def _parts(folder: PlantFolder, problems: list[str]) -> tuple[PartState, ...]:
    states: list[PartState] = []
    for part in Part:
        try:
            started = folder.started(part)
        except LinewiseError as error:
            problems.append(str(error))
            continue
        if started is None:
            continue
        runs = started.process.runs()
        answers = page_answers(started.api) if runs and part is Part.PAGES else None
        states.append(PartState(part=part, started=started, runs=runs, answers=answers))
        if answers is False:
            problems.append(
                f"The {part} (process {started.pid}) runs, but {started.api} does not answer: look into {started.log}"
            )
        if not runs:
            problems.append(
                f"The {part} (process {started.pid}) has ended although nobody stopped it: "
                f"`linewise up` starts it again, {started.log} may say why"
            )
    return tuple(states)


def _server(folder: PlantFolder, problems: list[str]) -> ChosenServer | None:
    """The server; the environment of this process is that of who asks it from now on."""
    try:
        server = server_in_use(folder)
    except LinewiseError as error:
        if str(error) not in problems:  # a damaged record was told already
            problems.append(str(error))
        return None
    if server is not None:
        os.environ.update(environment_of(server, folder))
    return server


def _health(server: ChosenServer | None, problems: list[str]) -> str | None:
    if server is None:
        return None
    try:
        return server_health(server.api)
    except LinewiseError as error:
        problems.append(str(error))
        return None


def _ask(problems: list[str]) -> Served | None:
    try:
        served = import_module("flows.plant.served")  # not before: Prefect takes its settings from the environment
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("prefect", "httpx", "yaml"):
            raise
        problems.append("Prefect is not installed here, so its server was not asked: pip install 'linewise[flows]'")
        return None
    try:
        return served.ask_server(hours=HOURS)
    except LinewiseError as error:
        problems.append(str(error))
        return None


def _served_problems(served: Served, parts: tuple[PartState, ...]) -> list[str]:
    problems: list[str] = []
    own = next((state for state in parts if state.part is Part.WORKER), None)
    if served.pool_paused is None:
        problems.append("The server has no work pool of Linewise: run `linewise up` or `python -m flows.bootstrap`")
    elif served.pool_paused:
        problems.append("The work pool is paused, so no run begins: run `linewise up`, or resume it in the UI")
    if own is not None and own.runs:
        if not any(worker.online for worker in served.workers if worker.name == own.started.name):
            problems.append(
                f"The worker (process {own.started.pid}) runs, and the server hears nothing of it: "
                f"look into {own.started.log}"
            )
    elif own is None and served.pool_paused is not None and not any(worker.online for worker in served.workers):
        problems.append("No worker is online, so no run begins: run `linewise up`, or start a worker")
    if served.late:
        first = served.late[0]
        due = "" if first.since is None else f", since {first.since.astimezone():%Y-%m-%d %H:%M}"
        problems.append(f"{_count(served.late, 'run')} late, the first {first.name!r}{due}: no worker takes them")
    last = {run.name: run for run in served.unmended}
    for name, run in last.items():
        times = sum(other.name == name for other in served.unmended)
        when = "" if run.since is None else f" at {run.since.astimezone():%Y-%m-%d %H:%M}"
        often = "" if times == 1 else f", the last of {times} in {HOURS:.0f} hours"
        problems.append(f"The run {name!r} ended as {run.state}{when}{often}: {run.message or 'no message'}")
    return problems


def _count(things: tuple[object, ...], name: str) -> str:
    return f"{len(things)} {name} is" if len(things) == 1 else f"{len(things)} {name}s are"


def _lines(settings: Settings, problems: list[str]) -> tuple[LineActivity, ...]:
    try:
        lines = line_activities(settings)
    except LinewiseError as error:
        problems.append(str(error))
        return ()
    problems += [f"The live bundle of {line.line} cannot score: {line.problem}" for line in lines if line.problem]
    return lines


def _silent(lines: tuple[LineActivity, ...], hours: float | None) -> list[str]:
    if hours is None:
        return []
    limit = datetime.now(UTC) - timedelta(hours=hours)
    return [
        f"No image of {line.line} was scored for {_hours_since(sign)}: "
        "see whether its images come and its schedule is on"
        for line in lines
        if (sign := line.last_sign) is not None and sign < limit
    ]


def _hours_since(then: datetime) -> str:
    hours = (datetime.now(UTC) - then) / timedelta(hours=1)
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"


def _prefect_version() -> str | None:
    try:
        return version("prefect")
    except PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    """Times as text, tuples as lists."""
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value
