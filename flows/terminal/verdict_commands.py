"""`linewise verdicts`: what people say of a line's images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.terminal.console import JsonOption, err, literal, out, table, write_json
from flows.terminal.registry_commands import LineArgument
from pipeline.errors import ConfigError
from pipeline.settings import load_settings

if TYPE_CHECKING:  # opening a database waits until a command needs it
    from deploy.results.records import NewVerdict
    from deploy.results.store import ResultStore

EveryOption = Annotated[
    bool,
    typer.Option("--every", help="Also those that a later one on the same image overruled; none that was taken back."),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    verdicts = typer.Typer(help="What people say of a line's images: good or defective.", no_args_is_help=True)
    verdicts.command("add")(add)
    verdicts.command("import")(import_verdicts)
    verdicts.command("list")(list_verdicts)
    verdicts.command("export")(export)
    app.add_typer(verdicts, name="verdicts")


def add(
    line: LineArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    verdict: Annotated[str, typer.Option(help="What they show: good or defective parts.")],
    by: Annotated[str | None, typer.Option(help="Who says so.")] = None,
    note: Annotated[str | None, typer.Option(help="What else there is to say.")] = None,
) -> None:
    """Say that images of a line are good or defective; `adapt --verdicts` learns from it.

    A verdict is of an image's content, wherever a copy lies. The latest one counts.
    """
    from deploy.results.verdict_files import parse_verdict, verdict_on  # noqa: PLC0415  # `--help` does not wait for it

    said = parse_verdict(verdict)
    new = [verdict_on(image, line, said, by=by, note=note) for image in images]
    with _store_of(line) as store:
        count = _add(store, line, new)
    out().print(f"{_count(count)} on images of {literal(line)}: {said}")


def import_verdicts(
    line: LineArgument,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="CSV",
            help="CSV file with the columns image_path (relative ones from its own folder) and verdict (good or "
            "defective), and by, note, defect_kind and defect_box (left, top, width and height in pixels of the "
            "upright image) if you like. What verdicts export wrote comes back with its times, also where images are "
            "gone.",
        ),
    ],
) -> None:
    """Take all verdicts of a CSV file, or none where a row cannot be used."""
    from deploy.results.verdict_files import read_verdicts  # noqa: PLC0415

    new = read_verdicts(file, line)
    with _store_of(line) as store:
        there = {(row.image_sha256, row.said_at, row.verdict) for row in store.verdicts(line, withdrawn=True)}
        count = _add(store, line, [row for row in new if (row.image_sha256, row.said_at, row.verdict) not in there])
    out().print(f"{_count(count)} on images of {literal(line)}")


def list_verdicts(line: LineArgument, every: EveryOption = False, json_path: JsonOption = None) -> None:
    """List a line's verdicts, the latest first."""
    with _store_of(line) as store:
        rows = store.verdicts(line, overruled=every)
    write_json(
        json_path,
        [
            {
                "image_path": row.image_path,
                "image_sha256": row.image_sha256,
                "verdict": row.verdict,
                "by": row.by,
                "note": row.note,
                "said_at": row.said_at.isoformat(),
                "kind": row.kind,
                "box": row.box,
                "question": row.question,
                "bundle_id": row.bundle_id,
            }
            for row in rows
        ],
    )
    if json_path is not None:
        return
    if not rows:
        out().print(f"No verdict on images of {literal(line)} yet: run linewise verdicts add LINE IMAGE --verdict good")
        return
    listing = table("Verdicts", "image", "verdict", "by", "said", "note")
    for row in rows:
        said = row.said_at.astimezone().strftime("%Y-%m-%d %H:%M")
        listing.add_row(*map(literal, (row.image_path, row.verdict, row.by or "", said, row.note or "")))
    out().print(listing)


def export(
    line: LineArgument,
    output: Annotated[Path, typer.Option(help="CSV file to write; `verdicts import` takes it.")],
    every: EveryOption = False,
) -> None:
    """Write a line's verdicts as CSV, the oldest first."""
    from deploy.results.verdict_files import write_verdicts  # noqa: PLC0415

    with _store_of(line) as store:
        count = write_verdicts(reversed(store.verdicts(line, overruled=every)), output)
    out().print(f"{_count(count)} on images of {literal(line)} in {literal(str(output))}")


def _add(store: ResultStore, line: str, new: Sequence[NewVerdict]) -> int:
    from deploy.results.verdict_files import remark_on_lines  # noqa: PLC0415

    if remark := remark_on_lines(store, line, new):
        err().print(f"[yellow]{literal(remark)}")
    return store.add_verdicts(new)


@contextmanager
def _store_of(line: str) -> Iterator[ResultStore]:
    """The result store, for a line that there is.

    Raises:
        ConfigError: none of that name is registered or was scored.
    """
    from deploy.bundles.registry import Registry  # noqa: PLC0415
    from deploy.results.store import ResultStore  # noqa: PLC0415

    settings = load_settings()
    with ResultStore(settings.database) as store:
        if line not in Registry(settings.home).lines() and not store.runs(line=line, limit=1):
            raise ConfigError("a line that is registered or was scored", f"no line {line!r}", "check its name")
        yield store


def _count(verdicts: int) -> str:
    return f"{verdicts:,} verdict{'' if verdicts == 1 else 's'}"
