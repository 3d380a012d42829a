"""What the terminal shows of the plant."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.bundles.manifest import linewise_version
from flows.plant.down import PlantDown
from flows.plant.started_parts import Part, Started
from flows.plant.status import PlantStatus
from flows.plant.up import PlantUp
from flows.terminal.console import literal, out, table, write_json

if TYPE_CHECKING:  # it imports Prefect
    from flows.plant.served import Served

_MOST_RUNS = 5
"""Runs of each state that are listed, the latest."""


def show_up(plant: PlantUp) -> None:
    """What runs, where it is seen and what it says."""
    if plant.server is None:
        _print(f"The server runs elsewhere, at {plant.choice.ui} (PREFECT_API_URL): none is started here.")
    else:
        _print(_line(Part.SERVER, plant.server, plant.began))
    _print(_line(Part.WORKER, plant.worker, plant.began))
    if plant.pages is not None:
        _print(_line(Part.PAGES, plant.pages, plant.began))
    if Part.WORKER in plant.began:
        new, renewed = ", ".join(plant.registered) or "none new", ", ".join(plant.renewed) or "none"
        _print(f"Deployments: {new}; renewed: {renewed}.")
    if not plant.began:
        _print("Nothing to start: the plant runs.")
    older = {started.linewise for started in (plant.server, plant.worker, plant.pages) if started} - {
        linewise_version()
    }
    if older:
        _print(f"Started by Linewise {', '.join(sorted(older))}: `linewise down`, then `linewise up` for this one.")
    _print(f"Prefect UI: {plant.choice.ui}")
    if plant.pages is not None:
        _print(f"Review page: {plant.pages.api}")
    if plant.server is not None:
        _print(f"Commands run through it after: export PREFECT_API_URL={plant.choice.api}")


def show_down(plant: PlantDown) -> None:
    """What was ended."""
    if not plant.ended:
        _print("Nothing runs that `linewise up` started.")
    for part in plant.ended:
        _print(f"{part.value.capitalize()} {'killed' if part in plant.killed else 'ended'}.")


def show_status(status: PlantStatus, json_path: Path | None) -> int:
    """All of it in tables, or as JSON; 1 where something is wrong.

    Raises:
        StorageError: the JSON file cannot be written.
    """
    write_json(json_path, status.to_json())
    if json_path is None:
        _show_plant(status)
        if status.served is not None:
            _show_served(status.served)
        _show_lines(status)
        for problem in status.problems:
            out().print(f"[red]{literal(problem)}[/]")
        if not status.problems:
            out().print("[green]Nothing is wrong.[/]")
    return int(bool(status.problems))


def _show_plant(status: PlantStatus) -> None:
    _print(", ".join(f"{name} {version or 'not installed'}" for name, version in status.versions.items()))
    if status.api is None:
        _print("No server is in use: `linewise up` starts one.")
    else:
        _print(f"Server at {status.api}: {status.health or 'does not answer'}")
    for state in status.parts:
        since = f"runs since {_local(state.started.since)}" if state.runs else "has ended"
        where = "" if state.answers is None else f" at {state.started.api}"
        _print(f"{state.part.value.capitalize()}{where}: process {state.started.pid} {since}, log {state.started.log}")


def _show_served(served: Served) -> None:
    for worker in served.workers:
        if worker.online:
            _print(f"Worker {worker.name} is online, last heard of {_local(worker.last_heartbeat)}")
    deployments = table("Deployments", "deployment", "schedules")
    for deployment in served.deployments:
        told = [f"{schedule.when} {'on' if schedule.on else 'off'}" for schedule in deployment.schedules]
        schedules = ", ".join(told) + (" (all paused)" if deployment.paused else "")
        deployments.add_row(literal(deployment.name), literal(schedules or "none"))
    out().print(deployments)
    groups = {
        "running": served.running,
        "pending": served.pending,
        "waiting for a place": served.waiting,
        "late": served.late,
        "failed or crashed in 24 h": served.failed,
    }
    _print("Runs: " + ", ".join(f"{len(runs)} {name}" for name, runs in groups.items()))
    runs = table("Runs", "run", "state", "since", "message")
    for run in (run for group in groups.values() for run in group[-_MOST_RUNS:]):
        runs.add_row(*map(literal, (run.name, run.state, _local(run.since), run.message)))
    if runs.row_count:
        out().print(runs)


def _show_lines(status: PlantStatus) -> None:
    if not status.lines:
        _print("No line is registered.")
        return
    listing = table("Lines", "line", "live version", "last image scored")
    for line in status.lines:
        scored = _local(line.last_scored) if line.last_scored else "never"
        listing.add_row(*map(literal, (line.line, line.version or "none", scored)))
    out().print(listing)


def _local(time: datetime | None) -> str:
    return "–" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


def _line(part: Part, started: Started, began: tuple[Part, ...]) -> str:
    state = "started" if part in began else f"runs since {_local(started.since)}"
    return f"{part.value.capitalize()} {state}: process {started.pid}, log {started.log}"


def _print(text: str) -> None:
    out().print(literal(text))
