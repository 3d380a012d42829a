"""`linewise up`, `down` and `status`: the plant on this machine. Starting the command loads nothing of Prefect."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from flows.terminal.console import JsonOption, err, literal
from pipeline.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("status")(status)


def up(
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port of the Prefect server on 127.0.0.1 (default: the one it has, or 4200)."
        ),
    ] = None,
    review_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the review page on 127.0.0.1 (default: the one it has, or 4290)."),
    ] = None,
) -> None:
    """Start a Prefect server, register the deployments, start a worker and the review page: in the background, where
    they do not run yet.

    All of it is kept in plant/ of the home: logs, process numbers, and the server's database unless
    PREFECT_SERVER_DATABASE_CONNECTION_URL names another. The server listens on this machine alone. Where
    PREFECT_API_URL names a server that runs elsewhere, that one is used and none is started.
    """
    brought = import_module("flows.plant.up").bring_up(load_settings(), port=port, review_port=review_port, say=_say)
    import_module("flows.plant.show").show_up(brought)


def down(
    now: Annotated[bool, typer.Option("--now", help="End the runs too, instead of waiting for them.")] = False,
) -> None:
    """End what `linewise up` started: review page, worker, server. Runs that have begun are waited for."""
    brought = import_module("flows.plant.down").bring_down(load_settings(), now=now, say=_say)
    import_module("flows.plant.show").show_down(brought)


def status(
    silent_after: Annotated[
        float | None,
        typer.Option(min=0, metavar="HOURS", help="A live line whose last image was scored longer ago is wrong."),
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Tell how server, worker and review page do, which schedules are on, what runs, what failed in 24 hours, and what
    lines do.

    Ends with 0 when all is well, with 1 when something is wrong: one sentence each. Without a server it tells of lines.
    """
    found = import_module("flows.plant.status").plant_status(load_settings(), silent_after=silent_after)
    if import_module("flows.plant.show").show_status(found, json_path):
        raise typer.Exit(1)


def _say(text: str) -> None:
    err().print(literal(text))
