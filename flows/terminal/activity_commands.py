"""The commands that are activities: a request made of the flags, its job or its flow, its result shown."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import typer

from flows.activities import ACTIVITIES, Activity, load
from flows.asking.flags import command_of
from flows.asking.request import Request
from flows.doctor.prefect_address import prefect_address, refuse_proxy_to_own_machine
from flows.terminal.console import progress_bars
from pipeline.errors import UnfinishedError
from pipeline.settings import Settings, load_settings

THROUGH_PREFECT = {"prefect": "Run as a Prefect flow (as when PREFECT_API_URL is set)."}


def register(app: typer.Typer) -> None:
    """Add a command for each activity."""
    for activity in ACTIVITIES:
        switches = {} if activity.flow is None else THROUGH_PREFECT
        command = command_of(activity.request_class, partial(_command, activity), switches=switches)
        app.command(activity.command)(command)


def run_job(activity: Activity, request: Request, settings: Settings) -> Any:
    """Run an activity's job in this process, with bars on standard error; return its result."""
    with progress_bars() as on_progress:
        return load(activity.job)(request, settings, on_progress)


def _command(activity: Activity, flags: dict[str, Any]) -> None:
    asked = flags.pop("prefect", False)
    as_json = str(flags.get("json_path")) == "-"
    if as_json:  # the terminal's matter, not the job's
        del flags["json_path"]
    request = activity.request_class.asked(**flags)
    if activity.flow is not None and (asked or os.environ.get("PREFECT_API_URL")):
        result = _run_flow(activity.flow, request.absolute())
    else:
        result = run_job(activity, request, load_settings())
    show = load(activity.show)
    code = show(request, result, as_json=True) if as_json else show(request, result)
    if code:
        raise typer.Exit(code)


def _run_flow(address: str, request: Request) -> Any:
    """Run the flow at `address` in this process, for the server of PREFECT_API_URL or one that Prefect starts here."""
    prefect_address()  # a proxy in the way has many answers, and none says so
    try:
        return load(address)(request)
    except UnfinishedError as error:
        return error.result
    except RuntimeError:  # so Prefect says, among others, that no server answers
        refuse_proxy_to_own_machine("http://127.0.0.1")
        load("flows.doctor.checks:check_prefect")()
        raise
