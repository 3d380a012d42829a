"""`linewise registry`: versions of the lines' bundles, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.terminal.console import JsonOption, literal, out, progress_bars, table, write_json
from pipeline.errors import ConfigError
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from deploy.bundles.version_decisions import VersionDecision

ByOption = Annotated[str | None, typer.Option(help="Who decides it, as they call themselves.")]
LineArgument = Annotated[str, typer.Argument(help="Name of the product line.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    registry = typer.Typer(help="Versions of the lines' bundles, and which one is live.", no_args_is_help=True)
    registry.command("list")(list_versions)
    registry.command("promote")(promote)
    registry.command("roll-back")(roll_back)
    registry.command("compare")(compare)
    registry.command("import")(import_pack)
    registry.command("sign")(sign)
    app.add_typer(registry, name="registry")


def list_versions(
    line: Annotated[str | None, typer.Argument(help="Only this line.")] = None, json_path: JsonOption = None
) -> None:
    """List lines and their versions."""
    from deploy.bundles.registry import Registry  # noqa: PLC0415  # `--help` does not wait for it
    from deploy.bundles.version_decisions import words_on_versions  # noqa: PLC0415

    registry = Registry(load_settings().home)
    names = [line] if line else registry.lines()
    records = [(name, record) for name in names for record in registry.versions(name)]
    words = {name: words_on_versions(registry.decisions(name)) for name in names}
    write_json(
        json_path,
        [
            {
                "line": name,
                "version": record.version,
                "live": record.live,
                "decision": word.model_dump(mode="json") if (word := words[name].get(record.version)) else None,
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
        out().print(f"No line is registered in {literal(str(registry.home))}: run linewise adapt LINE FOLDER")
        return
    problems = ["problem"] if any(record.problem for _, record in records) else []  # the room is short on 80 columns
    listing = table("Registry", "line", "version", "state", "learner", "created", *problems)
    listing.columns[1].no_wrap = True  # it is copied into `promote`
    for name, record in records:
        learner = record.manifest.learner.name if record.manifest else "–"
        created = record.created_at.strftime("%Y-%m-%d %H:%M")
        state = "live" if record.live else _state(words[name].get(record.version))
        cells = (name, record.version, state, learner, created, record.problem or "")
        listing.add_row(*map(literal, cells[: len(listing.columns)]))
    out().print(listing)


def _state(word: VersionDecision | None) -> str:
    """What became of a version that is not live: held by a gate, rolled back, or nothing to tell."""
    return "" if word is None or word.ruling.value == "promoted" else word.ruling.value


def promote(
    line: LineArgument,
    version: Annotated[str, typer.Argument(help="Version to make live.")],
    why: Annotated[str | None, typer.Option(help="Why, for who asks later.")] = None,
    by: ByOption = None,
) -> None:
    """Make a version live, also one that a gate held or that was rolled back."""
    from deploy.bundles.registry import Registry  # noqa: PLC0415

    bundle = Registry(load_settings().home).promote(line, version, by=by, why=why or "")
    out().print(f"Live for {literal(line)}: {literal(bundle.manifest.version)}")


def roll_back(
    line: LineArgument,
    why: Annotated[str | None, typer.Option(help="What is wrong with the version that is live.")] = None,
    by: ByOption = None,
) -> None:
    """Make the previously live version live again; the other one is never promoted again by itself."""
    from flows.roll_back import job  # noqa: PLC0415
    from flows.roll_back.request import RollBackRequest  # noqa: PLC0415
    from flows.roll_back.show import show  # noqa: PLC0415

    request = RollBackRequest.asked(line=line, why=why, by=by)
    show(request, job.run(request, load_settings()))


def compare(
    line: LineArgument,
    version: Annotated[str, typer.Argument(help="Version to look at.")],
    other: Annotated[str, typer.Argument(help="Version to compare it with.")],
    images: Annotated[Path | None, typer.Option(help="The line's folder, whose labelled images count, too.")] = None,
    json_path: JsonOption = None,
) -> None:
    """Compare two versions as the gate does, on images that neither has learned; nothing is promoted."""
    from flows.gate.job import compare_versions  # noqa: PLC0415
    from flows.gate.request import ComparedOn  # noqa: PLC0415
    from flows.gate.show import comparison_figures, show_comparison  # noqa: PLC0415

    with progress_bars() as on_progress:
        asked = ComparedOn.asked(images=images)
        comparison = compare_versions(line, version, other, asked, load_settings(), on_progress)
    write_json(json_path, comparison_figures(comparison))
    if json_path is None:
        show_comparison(comparison)
        for problem in comparison.problems:
            out().print(literal(f"The gate would hold it, as {problem}."))


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
    out().print(f"{literal(manifest.line)} {literal(manifest.version)}: {state}")


def sign(
    line: LineArgument,
    version: Annotated[str | None, typer.Argument(help="Version to sign (default: the live one).")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key (default: what LINEWISE_SIGNING_KEY names).")] = None,
) -> None:
    """Sign a version that is there already; what is adapted where LINEWISE_SIGNING_KEY is set signs itself."""
    from deploy.bundles.registry import Registry  # noqa: PLC0415

    settings = load_settings()
    if (key_file := key or settings.signing_key) is None:
        raise ConfigError("a key to sign with", "none", "set LINEWISE_SIGNING_KEY or --key; linewise keys make NAME")
    signed = Registry(settings.home).sign(line, version, key_file)
    out().print(f"Signed: {literal(line)} {literal(signed)}")
