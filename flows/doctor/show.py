"""`linewise doctor`: what this machine has, and whether Linewise will work on it."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from flows.doctor.job import DeviceReport, Diagnosis
from flows.doctor.request import DoctorRequest
from flows.terminal.console import literal, out, table, write_json

_COLOURS = {"ok": "green", "skipped": "dim", "problem": "red"}


def show(request: DoctorRequest, diagnosis: Diagnosis, *, as_json: bool = False) -> int:
    """The machine, its devices and the installation, in tables or as JSON.

    Raises:
        LinewiseError: the device that was asked for does not work.
    """
    if as_json or request.json_path is not None:
        write_json(Path("-") if as_json else request.json_path, diagnosis.to_json())
    else:
        _show(diagnosis)
    if diagnosis.device_problem is not None:
        raise diagnosis.device_problem
    return int(bool(diagnosis.problems))


def _show(diagnosis: Diagnosis) -> None:
    machine = diagnosis.machine
    memory = f"{machine.memory_bytes / 2**30:.1f} GiB of memory"
    out().print(literal(f"{machine.platform}, Python {machine.python}, {machine.cpus} CPUs, {memory}"))
    packages = (f"{name} {version or '–'}" for name, version in machine.packages.items())
    out().print(literal(", ".join(packages)))
    out().print(_device_table(diagnosis.devices))
    for report in diagnosis.devices:
        device = report.survey.device
        if report.problem is not None:
            out().print(literal(f"{device}: {report.problem}"))
        if report.available:
            out().print(literal(f"{device} parity: {report.parity_says}"))
            out().print(literal(f"{device} speed: {report.speed_says}"))
    checks = table("Installation", "check", "", "finding")
    for check in diagnosis.checks:
        verdict = f"[{_COLOURS[check.verdict.value]}]{check.verdict.value}[/]"
        checks.add_row(literal(check.name.replace("_", " ")), verdict, literal(check.says))
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
            literal(", ".join(survey.missing_libraries) or "none"),
            works,
        )
    return listing
