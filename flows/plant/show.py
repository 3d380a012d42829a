"""What the terminal shows of the plant."""

from __future__ import annotations

from rich.markup import escape

from deploy.bundles.manifest import linewise_version
from flows.plant.down import PlantDown
from flows.plant.plant_folder import Part, Started
from flows.plant.up import PlantUp
from flows.terminal.console import out


def show_up(plant: PlantUp) -> None:
    """What runs, where it is seen and what it says."""
    if plant.server is None:
        _print(f"The server runs elsewhere, at {plant.choice.ui} (PREFECT_API_URL): none is started here.")
    else:
        _print(_line(Part.SERVER, plant.server, plant.began))
    _print(_line(Part.WORKER, plant.worker, plant.began))
    if Part.WORKER in plant.began:
        new, renewed = ", ".join(plant.registered) or "none new", ", ".join(plant.renewed) or "none"
        _print(f"Deployments: {new}; renewed: {renewed}.")
    if not plant.began:
        _print("Nothing to start: the plant runs.")
    older = {started.linewise for started in (plant.server, plant.worker) if started} - {linewise_version()}
    if older:
        _print(f"Started by Linewise {', '.join(sorted(older))}: `linewise down`, then `linewise up` for this one.")
    _print(f"Prefect UI: {plant.choice.ui}")
    if plant.server is not None:
        _print(f"Commands run through it after: export PREFECT_API_URL={plant.choice.api}")


def show_down(plant: PlantDown) -> None:
    """What was ended."""
    if not plant.ended:
        _print("Nothing runs that `linewise up` started.")
    for part in plant.ended:
        _print(f"{part.value.capitalize()} {'killed' if part in plant.killed else 'ended'}.")


def _line(part: Part, started: Started, began: tuple[Part, ...]) -> str:
    state = "started" if part in began else f"runs since {started.since.astimezone():%Y-%m-%d %H:%M}"
    return f"{part.value.capitalize()} {state}: process {started.pid}, log {started.log}"


def _print(text: str) -> None:
    out().print(escape(text))
