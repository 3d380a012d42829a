"""`linewise results`: what the result store holds, for other programs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.terminal.console import literal, out
from pipeline.errors import ConfigError
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from deploy.results.schema import RunRow
    from deploy.results.store import ResultStore

FORMATS = ("parquet", "csv")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    results = typer.Typer(help="What was scored, from the result store.", no_args_is_help=True)
    results.command("export")(export)
    results.command("coco")(coco)
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
    parts: Annotated[
        bool, typer.Option("--parts", help="Parts of several views, a row each, instead of images.")
    ] = False,
    regions: Annotated[
        bool, typer.Option("--regions", help="Regions marked in flagged images, a row each, instead of images.")
    ] = False,
) -> None:
    """Write a line's result rows as Parquet or CSV, the oldest first."""
    from deploy.results.part_queries import parts_of  # noqa: PLC0415  # `--help` does not wait for it
    from deploy.results.region_queries import regions_of  # noqa: PLC0415
    from deploy.results.row_files import ExportFormat, export_parts, export_regions, export_rows  # noqa: PLC0415
    from deploy.results.store import ResultStore  # noqa: PLC0415

    chosen = file_format or output.suffix.lower().removeprefix(".")
    if chosen not in FORMATS:
        raise ConfigError(f"format to be one of {', '.join(FORMATS)}", repr(chosen), "name one with --format")
    if parts and regions:
        raise ConfigError("either parts or regions", "both", "export them into two files")
    if parts and run is not None:
        raise ConfigError("either parts or a run", "both", "name the time with --since: a part may come of two runs")
    start = _time(since) if since is not None else None
    with ResultStore(load_settings().database) as store:
        _find_run(store, line, run)
        if parts:
            count = export_parts(parts_of(store, line, since=start), output, ExportFormat(chosen))
        elif regions:
            found = regions_of(store, line, run_id=run, since=start)
            count = export_regions(found, output, ExportFormat(chosen))
        else:
            rows = store.stream(line=line, run_id=run, since=start, oldest_first=True)
            count = export_rows(rows, output, ExportFormat(chosen))
    out().print(f"{count} rows of {literal(line)} in {literal(str(output))}")


def coco(
    line: Annotated[str, typer.Argument(help="Name of the product line.")],
    output: Annotated[Path, typer.Option(help="JSON file to write.")],
    run: Annotated[
        int | None,
        typer.Option(help="Only what this scoring run wrote (default: all that the latest run's bundle scored)."),
    ] = None,
) -> None:
    """Write a line's images as COCO JSON, the regions marked in them as annotations: box, polygon, area, score."""
    from deploy.results.coco import write_coco  # noqa: PLC0415  # `--help` does not wait for it
    from deploy.results.store import ResultStore  # noqa: PLC0415

    with ResultStore(load_settings().database) as store:
        counts = write_coco(store, _find_run(store, line, run), output, whole_bundle=run is None)
    told = f"{counts.images} images of {line} with {counts.annotations} regions in {output}"
    out().print(literal(told))
    if counts.left_out:
        out().print(f"left out: {counts.left_out} that were scored before regions were kept, or could not be judged")


def _find_run(store: ResultStore, line: str, run: int | None) -> RunRow:
    """The line's scoring run of that number, or its latest."""
    if not (latest := store.runs(line=line, limit=1)):
        raise ConfigError("a line that was scored", f"no run of {line!r}", "check its name")
    if run is None:
        return latest[0]
    if not (found := store.runs(line=line, run_id=run)):
        raise ConfigError(f"a scoring run of {line}", f"run {run}", f"name one; the latest is {latest[0].id}")
    return found[0]


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        remedy = "change since"
        raise ConfigError("since to be a date or time such as 2026-03-04T05:06+01:00", repr(text), remedy) from error
