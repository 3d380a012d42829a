"""`linewise up`, `down` and `status`: the plant on this machine. Starting the command loads nothing of Prefect."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer
from rich.markup import escape

from flows.terminal.console import err
from pipeline.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("up")(up)
    app.command("down")(down)


def up(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the Prefect server on 127.0.0.1 (default: as before, or 4200)."),
    ] = None,
) -> None:
    """Start a Prefect server, register the deployments, start a worker: in the background, where they do not run yet.

    All of it is kept in plant/ of the home: logs, process numbers, and the server's database unless
    PREFECT_SERVER_DATABASE_CONNECTION_URL names another. The server listens on this machine alone. Where
    PREFECT_API_URL names a server that runs elsewhere, that one is used and none is started.
    """
    brought = import_module("flows.plant.up").bring_up(load_settings(), port=port, say=_say)
    import_module("flows.plant.show").show_up(brought)


def down(
    now: Annotated[bool, typer.Option("--now", help="End the runs too, instead of waiting for them.")] = False,
) -> None:
    """End the worker and the server that `linewise up` started; runs that have begun are waited for."""
    brought = import_module("flows.plant.down").bring_down(load_settings(), now=now, say=_say)
    import_module("flows.plant.show").show_down(brought)


def _say(text: str) -> None:
    err().print(escape(text))
