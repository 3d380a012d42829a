"""`linewise drift`: what watching found, per line, and how a line is watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.terminal.console import JsonOption, literal, out, write_json
from pipeline.errors import ConfigError
from pipeline.settings import Settings, load_settings

if TYPE_CHECKING:  # opening a database waits until a command needs it
    from deploy.drift.policy import DriftSettings
    from deploy.results.drift_rows import DriftState
    from deploy.results.schema import DriftAlarmRow


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("drift")(drift)


def drift(
    line: Annotated[str | None, typer.Argument(help="Only this product line.")] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="What follows an alarm of the line: tell, propose (a new version, to a person) or re-adapt (through "
            "the gate)."
        ),
    ] = None,
    alarms_a_year: Annotated[
        float | None,
        typer.Option(help="False alarms of the line a year, at most and on average, at its pace (default: 1)."),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(
            help="Take the mean of so many images as one, more than come in a run of similar parts (default: what the "
            "first 200 images say)."
        ),
    ] = None,
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Say that you have seen the line's alarms.")
    ] = False,
    by: Annotated[str | None, typer.Option(help="Who says so.")] = None,
    json_path: JsonOption = None,
) -> None:
    """Tell how the lines' streams stand: alarms in words, with images of before and after. `watch-drift` looks for
    them.

    Ends with 1 where there is an alarm that nobody has acknowledged. With --policy, --alarms-a-year or --block it sets
    how a line is watched.
    """
    from deploy.drift.policy import read_drift_settings  # noqa: PLC0415  # `--help` does not wait for it
    from deploy.results.drift_rows import acknowledge as note_seen  # noqa: PLC0415
    from deploy.results.drift_rows import drift_alarms, drift_state, scored_lines  # noqa: PLC0415
    from deploy.results.store import ResultStore  # noqa: PLC0415

    settings = load_settings()
    changes = {"policy": policy, "alarms_a_year": alarms_a_year, "block": block}
    changes = {name: value for name, value in changes.items() if value is not None}
    if line is None and (changes or acknowledge):
        raise ConfigError("a line whose settings or alarms are meant", "none", "name it: linewise drift LINE ...")
    if line is not None and changes:
        _set(settings, line, changes)
    with ResultStore(settings.database) as store:
        lines = scored_lines(store)
        if line is not None and line not in lines and not changes:
            raise ConfigError("a line that was scored", f"no image of {line!r}", "check its name, or score first")
        if line is not None and acknowledge:
            note_seen(store, line, by)
        told = [
            (name, read_drift_settings(settings.home, name), drift_state(store, name), drift_alarms(store, name))
            for name in ([line] if line is not None else lines)
        ]
    write_json(json_path, [_facts(*each) for each in told])
    if json_path is None:
        for each in told:
            _show(*each)
    if any(_waiting(alarms) for *_, alarms in told):
        raise typer.Exit(1)


def _set(settings: Settings, line: str, changes: dict[str, Any]) -> None:
    from pydantic import ValidationError  # noqa: PLC0415

    from deploy.drift.policy import DriftSettings, read_drift_settings, write_drift_settings  # noqa: PLC0415

    before = read_drift_settings(settings.home, line)
    try:
        chosen = DriftSettings.model_validate(before.model_dump() | changes)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).replace("_", "-")
        said = f"{option}: {first['msg'].removeprefix('Input should be ')}"
        raise ConfigError(said, repr(first["input"]), f"change --{option}") from error
    write_drift_settings(settings.home, line, chosen)


def _facts(
    line: str, settings: DriftSettings, state: DriftState | None, alarms: Sequence[DriftAlarmRow]
) -> dict[str, Any]:
    from deploy.results.drift_rows import alarm_facts  # noqa: PLC0415

    return {
        "line": line,
        **settings.model_dump(mode="json"),
        "images": state.images if state else 0,
        "watched_at": state.watched_at.isoformat() if state else None,
        "alarms": [
            {
                **alarm_facts(alarm),
                "before": alarm.before,
                "after": alarm.after,
                "acknowledged_at": alarm.acknowledged_at.isoformat() if alarm.acknowledged_at else None,
                "acknowledged_by": alarm.acknowledged_by,
            }
            for alarm in alarms
        ],
    }


def _show(line: str, settings: DriftSettings, state: DriftState | None, alarms: Sequence[DriftAlarmRow]) -> None:
    from flows.drift.show import show_alarm  # noqa: PLC0415

    waiting, seen = _waiting(alarms), sum(alarm.acknowledged_at is not None for alarm in alarms)
    how = f"policy {settings.policy}, false alarms a year: at most {settings.alarms_a_year:g}"
    how += f", means of {settings.block} images" if settings.block else ""
    if state is None:
        out().print(literal(f"{line}: not watched yet: run linewise watch-drift ({how})"))
        return
    found = f"{len(waiting)} alarm{'' if len(waiting) == 1 else 's'}" if waiting else "no alarm"
    earlier = f", {seen} acknowledged" if seen else ""
    at = state.watched_at.astimezone().strftime("%Y-%m-%d %H:%M")
    out().print(literal(f"{line}: {found}{earlier}; {state.images:,} images watched until {at} ({how})"))
    for alarm in waiting:
        show_alarm(alarm)


def _waiting(alarms: Sequence[DriftAlarmRow]) -> list[DriftAlarmRow]:
    return [alarm for alarm in alarms if alarm.acknowledged_at is None]
