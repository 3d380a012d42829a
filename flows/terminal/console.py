"""What every command shares: where text goes, requests from flags, running a job here or as a Prefect flow."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from flows.asking.request import Request
from flows.progress import OnProgress
from flows.progress import Progress as JobProgress
from pipeline.errors import ConfigError, StorageError
from pipeline.settings import load_settings

RequestT = TypeVar("RequestT", bound=Request)

FLOWS = {
    "meta_train": "meta_train.flow:meta_train",
    "adapt": "adapt.flow:adapt_line",
    "export": "export.flow:export",
    "score": "score.flow:score_folder",
    "score_plant": "score.plant_flow:score_plant",
    "evaluate": "evaluate.flow:evaluate",
}
"""Module and flow function of each job. Resolved by name: the command itself imports neither torch nor Prefect."""

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON ('-': standard output).")]
PrefectOption = Annotated[
    bool, typer.Option("--prefect", help="Run as a Prefect flow (as when PREFECT_API_URL is set).", show_default=False)
]


def out() -> Console:
    """Standard output: results."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """Standard error: progress and remarks."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def build_request(model: type[RequestT], **flags: Any) -> RequestT:
    """The request, with a flag that was not given left to the request's own default.

    Raises:
        ConfigError: the first flag that the request refuses, in one sentence.
    """
    try:
        return model(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "request"
        wanted = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        option = name.removesuffix("_path").replace("_", "-")
        raise ConfigError(f"{option} to be {wanted}", repr(first["input"]), f"change {option}") from error


def split_names(text: str) -> tuple[str, ...]:
    """`"a, b"` as `("a", "b")`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def through_prefect(asked: bool) -> bool:
    """Whether jobs run as Prefect flows: when asked to, or when an API is configured."""
    return asked or bool(os.environ.get("PREFECT_API_URL"))


def run_job(job: str, request: Request, *, prefect: bool) -> Any:
    """Run a job in this process, plainly or as a Prefect flow; return its result."""
    if through_prefect(prefect):
        module, function = FLOWS[job].split(":")
        return getattr(import_module(f"flows.{module}"), function)(request)
    with progress_bars() as on_progress:
        return import_module(job_module(job)).run(request, load_settings(), on_progress)


def job_module(job: str) -> str:
    """Where a job's `run` is: its room's `job`, or `plant_job` for a plant."""
    return "flows.score.plant_job" if job == "score_plant" else f"flows.{job}.job"


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
            bars.console.print(f"[yellow]{escape(progress.remark)}")

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"to write {path}", error.strerror or str(error), "name a file in a folder that can be written"
        ) from error


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns in `right` hold numbers."""
    built = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        built.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return built
