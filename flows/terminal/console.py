"""What every command shares: where text goes, progress bars, JSON, tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from flows.progress import OnProgress
from flows.progress import Progress as JobProgress
from pipeline.storage import make_folder_of, replace_file
from pipeline.unicode_names import one_line

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON ('-': standard output).")]


def literal(text: str) -> str:
    """Text for rich as it stands, on one line: names of files and lines are data, neither markup nor layout."""
    return escape(one_line(text))


def out() -> Console:
    """Standard output: results."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """Standard error: progress and remarks."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def progress_bars() -> Iterator[OnProgress]:
    """A bar for each stage of a job, on standard error; nothing before the first progress."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, TextColumn("[dim]{task.fields[figures]}"), console=err())
    stages: dict[str, TaskID] = {}
    remarks: set[str] = set()

    def show(progress: JobProgress) -> None:
        if not stages:
            bars.start()
        figures = "  ".join([f"{name} {value:.4g}" for name, value in progress.figures.items()] + [progress.time_left])
        key = progress.stage.partition(":")[0]  # "adapt: export" is a step of "adapt", not a bar of its own
        if key not in stages:
            stages[key] = bars.add_task(progress.stage, total=progress.total, figures=figures)
        bars.update(
            stages[key], description=progress.stage, completed=progress.done, total=progress.total, figures=figures
        )
        if progress.remark and progress.remark not in remarks:
            remarks.add(progress.remark)
            bars.console.print(f"[yellow]{literal(progress.remark)}")

    try:
        yield show
    finally:
        if stages:
            bars.stop()


def write_json(path: Path | None, payload: object) -> None:
    """Write JSON to a file, or to standard output for "-"; None: nowhere.

    Raises:
        StorageError: the file cannot be written.
    """
    if path is None:
        return
    text = json.dumps(payload, indent=2, default=str, allow_nan=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    make_folder_of(path)
    replace_file(path, text.encode(), durable=False)


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns in `right` hold numbers."""
    built = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        built.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return built
