"""`linewise results`: what the result store holds, for other programs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.terminal.console import out
from pipeline.errors import ConfigError
from pipeline.settings import load_settings

FORMATS = ("parquet", "csv")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    results = typer.Typer(help="What was scored, from the result store.", no_args_is_help=True)
    results.callback()(lambda: None)  # with one command alone, typer would drop its name
    results.command("export")(export)
    app.add_typer(results, name="results")


def export(
    line: Annotated[str, typer.Argument(help="Name of the product line.")],
    output: Annotated[Path, typer.Option(help="File to write.")],
    file_format: Annotated[
        str | None, typer.Option("--format", help=f"One of {', '.join(FORMATS)} (default: the file's suffix).")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only rows from then on: 2026-03-04 or 2026-03-04T05:06+01:00 (without a zone: local time)."),
    ] = None,
    run: Annotated[int | None, typer.Option(help="Only what this scoring run wrote.")] = None,
) -> None:
    """Write a line's result rows as Parquet or CSV, the oldest first."""
    from deploy.results.row_files import ExportFormat, export_rows  # noqa: PLC0415  # `--help` does not wait for it
    from deploy.results.store import ResultStore  # noqa: PLC0415

    chosen = file_format or output.suffix.lower().removeprefix(".")
    if chosen not in FORMATS:
        raise ConfigError(f"format to be one of {', '.join(FORMATS)}", repr(chosen), "name one with --format")
    start = _time(since) if since is not None else None
    with ResultStore(load_settings().database) as store:
        if not (latest := store.runs(line=line, limit=1)):
            raise ConfigError("a line that was scored", f"no run of {line!r}", "check its name")
        if run is not None and not store.runs(line=line, run_id=run):
            raise ConfigError(f"a scoring run of {line}", f"run {run}", f"name one; the latest is {latest[0].id}")
        rows = store.stream(line=line, run_id=run, since=start, oldest_first=True)
        count = export_rows(rows, output, ExportFormat(chosen))
    out().print(f"{count} rows of {escape(line)} in {escape(str(output))}")


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        remedy = "change since"
        raise ConfigError("since to be a date or time such as 2026-03-04T05:06+01:00", repr(text), remedy) from error
