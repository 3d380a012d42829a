"""`linewise export`, `score` and `registry`: what runs at the plant, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.export.request import ExportRequest
from flows.export.show import show_export
from flows.score.request import ScorePlantRequest, ScoreRequest
from flows.score.show import show_plant, show_scoring
from flows.terminal.console import JsonOption, PrefectOption, build_request, out, run_job, table, write_json
from pipeline.settings import DeviceName, load_settings

LineArgument = Annotated[str, typer.Argument(help="Name of the product line.")]
VersionOption = Annotated[str | None, typer.Option(help="Bundle version (default: the live one).")]
DeviceOption = Annotated[
    str | None, typer.Option(help=f"One of {', '.join(DeviceName)} (default: LINEWISE_DEVICE, else auto).")
]
WorkersOption = Annotated[int | None, typer.Option(help="Scoring threads (default: one for each CPU).")]
ReportOption = Annotated[Path | None, typer.Option(help="HTML report to write (default: one in the home).")]
CsvOption = Annotated[Path | None, typer.Option("--csv", help="Write the results as CSV.")]
OverlaysOption = Annotated[bool, typer.Option(help="Write heat-map overlays of flagged images.")]
MapsOption = Annotated[
    Path | None, typer.Option(help="Folder for the anomaly maps of this run's images (float32 TIFF).")
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("export")(export)
    app.command("score")(score)
    app.command("score-plant")(score_plant)
    registry = typer.Typer(help="Versions of the lines' bundles, and which one is live.", no_args_is_help=True)
    registry.command("list")(list_versions)
    registry.command("promote")(promote)
    registry.command("roll-back")(roll_back)
    registry.command("import")(import_pack)
    app.add_typer(registry, name="registry")


def export(
    line: LineArgument,
    destination: Annotated[Path, typer.Argument(help="Folder to write; new or empty.")],
    version: VersionOption = None,
    int8: Annotated[
        Path | None,
        typer.Option(help="Folder of the line's images: make the backbone int8, unless they rank otherwise with it."),
    ] = None,
    prefect: PrefectOption = False,
) -> None:
    """Write a line's bundle, with its backbone, into a folder that scores anywhere."""
    request = build_request(ExportRequest, line=line, destination=destination, version=version, int8=int8)
    show_export(run_job("export", request, prefect=prefect))


def score(
    line: LineArgument,
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of images, .txt list of paths, video file, or a stream: rtsp://, http:// or camera:0."
        ),
    ],
    version: VersionOption = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder that `linewise export` wrote.")] = None,
    device: DeviceOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with the folder's new files until Ctrl-C.")] = False,
    every: Annotated[
        str | None, typer.Option(help="Frames of a video or stream: 10 (every tenth), 0.5s (one in half a second).")
    ] = None,
    workers: WorkersOption = None,
    report: ReportOption = None,
    json_path: JsonOption = None,
    csv_path: CsvOption = None,
    overlays: OverlaysOption = True,
    maps: MapsOption = None,
    prefect: PrefectOption = False,
) -> None:
    """Score images: decisions, heat maps, rows in the result store, a report.

    Ends with 1 when some files got no decision; all others are scored and kept. A watched folder and a stream go on
    until Ctrl-C or SIGTERM, which end them as a folder's last file does: with rows and report.
    """
    to_stdout = json_path is not None and str(json_path) == "-"
    request = build_request(
        ScoreRequest,
        line=line,
        images=source,
        watch=watch,
        every=every,
        version=version,
        bundle=bundle,
        device=device or load_settings().device,
        workers=workers,
        report=report,
        json_path=None if to_stdout else json_path,
        csv_path=csv_path,
        overlays=overlays,
        maps=maps,
    )
    result = run_job("score", request, prefect=prefect)
    show_scoring(result, as_json=to_stdout)
    if result.summary.unreadable:
        raise typer.Exit(1)


def score_plant(
    folder: Annotated[Path, typer.Argument(help="Folder with a folder of images for each line, under its name.")],
    device: DeviceOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with the lines' new files until Ctrl-C.")] = False,
    workers: WorkersOption = None,
    report: ReportOption = None,
    json_path: JsonOption = None,
    csv_path: CsvOption = None,
    overlays: OverlaysOption = True,
    maps: MapsOption = None,
    prefect: PrefectOption = False,
) -> None:
    """Score all lines of a plant in one process: FOLDER/LINE/**, each line with its live bundle; rows in the store.

    A bundle that is registered or promoted meanwhile is taken up between two images. Ends with 1 when some files got no
    decision, or a promoted bundle could not be used; all others are scored and kept. A watched folder goes on until
    Ctrl-C or SIGTERM.
    """
    to_stdout = json_path is not None and str(json_path) == "-"
    request = build_request(
        ScorePlantRequest,
        images=folder,
        watch=watch,
        device=device or load_settings().device,
        workers=workers,
        report=report,
        json_path=None if to_stdout else json_path,
        csv_path=csv_path,
        overlays=overlays,
        maps=maps,
    )
    result = run_job("score_plant", request, prefect=prefect)
    figures = result.figures()
    show_plant(result, as_json=to_stdout)
    if figures["unreadable"] or figures["problems"]:
        raise typer.Exit(1)


def list_versions(
    line: Annotated[str | None, typer.Argument(help="Only this line.")] = None, json_path: JsonOption = None
) -> None:
    """List lines and their versions."""
    from deploy.bundles.registry import Registry  # noqa: PLC0415  # `--help` does not wait for it

    registry = Registry(load_settings().home)
    records = [(name, record) for name in ([line] if line else registry.lines()) for record in registry.versions(name)]
    write_json(
        json_path,
        [
            {
                "line": name,
                "version": record.version,
                "live": record.live,
                "created_at": record.created_at.isoformat(),
                "learner": record.manifest.learner.name if record.manifest else None,
                "path": str(record.path),
                "problem": record.problem,
            }
            for name, record in records
        ],
    )
    if json_path is not None:
        return
    if not records:
        out().print(f"No line is registered in {escape(str(registry.home))}: run linewise adapt LINE FOLDER")
        return
    listing = table("Registry", "line", "version", "live", "learner", "created", "problem")
    for name, record in records:
        learner = record.manifest.learner.name if record.manifest else "–"
        created = record.created_at.strftime("%Y-%m-%d %H:%M")
        cells = (name, record.version, "live" if record.live else "", learner, created, record.problem or "")
        listing.add_row(*map(escape, cells))
    out().print(listing)


def promote(line: LineArgument, version: Annotated[str, typer.Argument(help="Version to make live.")]) -> None:
    """Make a version live."""
    from deploy.bundles.registry import Registry  # noqa: PLC0415

    bundle = Registry(load_settings().home).promote(line, version)
    out().print(f"Live for {escape(line)}: {escape(bundle.manifest.version)}")


def roll_back(line: LineArgument) -> None:
    """Make the previously live version live again."""
    from deploy.bundles.registry import Registry  # noqa: PLC0415

    bundle = Registry(load_settings().home).roll_back(line)
    out().print(f"Live for {escape(line)}: {escape(bundle.manifest.version)}")


def import_pack(
    folder: Annotated[Path, typer.Argument(help="Folder that `linewise export` wrote.")],
    promote_it: Annotated[bool, typer.Option("--promote/--no-promote", help="Make the version live.")] = True,
) -> None:
    """Take an exported bundle and its backbone into this machine's registry."""
    from deploy.bundles.registry import Registry  # noqa: PLC0415

    settings = load_settings()
    settings.ensure_home()
    registry = Registry(settings.home)
    manifest = registry.add_packed(folder).manifest
    if promote_it:
        registry.promote(manifest.line, manifest.version)
    state = "live" if promote_it else "registered, not live"
    out().print(f"{escape(manifest.line)} {escape(manifest.version)}: {state}")
