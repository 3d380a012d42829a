"""`linewise review`: the review page. Starting the command loads nothing of it."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from flows.terminal.console import literal, out
from pipeline.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("review")(review)


def review(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 4290,
    host: Annotated[
        str, typer.Option(help="Address to listen at; one that others reach needs LINEWISE_REVIEW_TOKEN.")
    ] = "127.0.0.1",
) -> None:
    """Serve a web page on which people say of a line's images whether they are good, until Ctrl-C.

    It asks about flagged and borderline images, those unlike the line, and random ones, which tell how many good parts
    are rejected and how many defects pass. `adapt --verdicts` learns from the answers.
    """
    import_module("flows.plant.pages").require_pages_extra()
    import_module("deploy.review.serving").serve(load_settings(), host=host, port=port, on_ready=_say)


def _say(address: str) -> None:
    out().print(f"Review page: {literal(address)} (Ctrl-C ends it)")
