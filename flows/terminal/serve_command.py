"""`linewise serve`: lines scored over HTTP. Starting the command loads nothing of the web framework."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from deploy.loopback import is_loopback
from flows.terminal.console import err, literal
from pipeline.errors import ConfigError
from pipeline.settings import Device, load_settings

PORT = 4291


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("serve")(serve)


def serve(
    lines: Annotated[
        str, typer.Option(help="Lines to serve, with commas between them (default: all that are registered).")
    ] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = PORT,
    host: Annotated[
        str, typer.Option(help="Address to listen at. Beyond this machine LINEWISE_REST_TOKEN must be set.")
    ] = "127.0.0.1",
    device: Annotated[
        Device | None,
        typer.Option(
            help="Where to score. auto, and the default: what LINEWISE_DEVICE says, else the fastest that works. A "
            "device that is named and not there is an error, never a fallback."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Decoding and scoring threads (default: one for each CPU)."),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, max=1024, help="Images under way at most; more are answered 503, to be sent again.")
    ] = 64,
    record: Annotated[bool, typer.Option("--record", help="Keep results in the result store.")] = False,
) -> None:
    """Score lines over HTTP: POST /lines/LINE/score with an image file as the body answers its decision.

    Each line is served at its live bundle; a promotion holds from the next image on. GET /lines, /lines/LINE, /health,
    /metrics (for Prometheus) and /openapi.json tell the rest. Where LINEWISE_REST_TOKEN is set, requests send it as
    Authorization: Bearer TOKEN; where it is not, only requests to this machine by its own names, such as localhost, are
    answered. Ctrl-C and SIGTERM end it once what is under way is answered.
    """
    settings = load_settings()
    if settings.rest_token is None and not is_loopback(host):
        remedy = "set it to a long random text, and send it with each request"
        raise ConfigError(f"a LINEWISE_REST_TOKEN to listen at {host}, beyond this machine", "none", remedy)
    try:
        server = import_module("deploy.rest.server")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"fastapi", "prometheus_client", "uvicorn"}:
            raise
        got = f"no module {error.name}"
        raise ConfigError("the web server's libraries", got, "run pip install 'linewise[rest]'") from error
    server.serve(
        settings,
        host=host,
        port=port,
        lines=[name for part in lines.split(",") if (name := part.strip())],
        device=device,
        workers=workers,
        places=queue,
        record=record,
        say=_say,
    )


def _say(text: str) -> None:
    err().print(literal(text))
