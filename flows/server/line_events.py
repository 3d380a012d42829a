"""Events of a line's life, which automations wait for and the UI shows beside the runs that they started.

Every event is of the resource `linewise.line.<name>`; its payload says the line, the version and why.
"""

from __future__ import annotations

from enum import StrEnum

from prefect.events import emit_event

from flows.server.artifacts import in_a_run

LINE_RESOURCE = "linewise.line."
"""Begins the id of a line's resource; the line's name follows as it is."""


class LineEvent(StrEnum):
    """What happens to a line."""

    APPEARED = "linewise.line.appeared"
    PROMOTED = "linewise.line.promoted"
    HELD = "linewise.line.held"
    ROLLED_BACK = "linewise.line.rolled-back"


def tell_of_line(event: LineEvent, line: str, *, version: str | None = None, why: str = "") -> None:
    """Emit an event of a line; outside of a run there is no server to send it to, so nothing happens."""
    if not in_a_run():
        return
    resource = {"prefect.resource.id": f"{LINE_RESOURCE}{line}", "prefect.resource.name": line}
    emit_event(event.value, resource, payload={"line": line, "version": version, "why": why})
