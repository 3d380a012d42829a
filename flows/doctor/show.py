"""`linewise doctor`: what this machine has, and whether Linewise will work on it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.terminal.console import JsonOption, out, progress_bars, table, write_json
from pipeline.errors import ConfigError
from pipeline.settings import DeviceName, load_settings

if TYPE_CHECKING:
    from flows.doctor.job import DeviceReport, Diagnosis

_COLOURS = {"ok": "green", "skipped": "dim", "problem": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    device: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(DeviceName)} (default: LINEWISE_DEVICE, else auto).")
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Check this machine: libraries, devices, home, result store, Prefect; compare and time what can score.

    Ends with 0 when all is well, with 1 when something needs mending, with 2 when the device asked for does not work.
    """
    settings = load_settings()
    try:
        asked = settings.device if device is None else DeviceName(device)
    except ValueError as error:
        names = ", ".join(DeviceName)
        raise ConfigError(f"a device of {names}", repr(device), "choose one of them") from error
    with progress_bars() as on_progress:
        diagnosis: Diagnosis = import_module("flows.doctor.job").run(asked, settings, on_progress)
    write_json(json_path, diagnosis.to_json())
    if json_path is None:
        _show(diagnosis)
    if diagnosis.device_problem is not None:
        raise diagnosis.device_problem
    if diagnosis.problems:
        raise typer.Exit(1)


def _show(diagnosis: Diagnosis) -> None:
    machine = diagnosis.machine
    memory = f"{machine.memory_bytes / 2**30:.1f} GiB of memory"
    out().print(escape(f"{machine.platform}, Python {machine.python}, {machine.cpus} CPUs, {memory}"))
    packages = (f"{name} {version or '–'}" for name, version in machine.packages.items())
    out().print(escape(", ".join(packages)))
    out().print(_device_table(diagnosis.devices))
    for report in diagnosis.devices:
        device = report.survey.device
        if report.problem is not None:
            out().print(escape(f"{device}: {report.problem}"))
        if report.available:
            out().print(escape(f"{device} parity: {report.parity_says}"))
            out().print(escape(f"{device} speed: {report.speed_says}"))
    checks = table("Installation", "check", "", "finding")
    for check in diagnosis.checks:
        verdict = f"[{_COLOURS[check.verdict.value]}]{check.verdict.value}[/]"
        checks.add_row(escape(check.name.replace("_", " ")), verdict, escape(check.says))
    out().print(checks)
    usable = [report.survey.device.value for report in diagnosis.devices if report.works]
    if diagnosis.problems:
        out().print(f"[red]To mend: {len(diagnosis.problems)}[/]")
    else:
        out().print(f"[green]Linewise works here, on {' and '.join(usable)}.[/]")


def _device_table(reports: tuple[DeviceReport, ...]) -> Table:
    listing = table("Devices", "device", "compiled in", "driver", "missing libraries", "works")
    for report in reports:
        survey = report.survey
        works = {True: "[green]yes[/]", False: "no", None: "[dim]not tried[/]"}[report.works]
        listing.add_row(
            survey.device.value,
            "yes" if survey.compiled_in else "no",
            {True: "yes", False: "no", None: "none needed"}[survey.driver],
            escape(", ".join(survey.missing_libraries) or "none"),
            works,
        )
    return listing
