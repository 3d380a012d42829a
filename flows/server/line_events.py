"""Events of a line's life, which automations wait for and the UI shows beside the runs that they started.

Every event is of the resource `linewise.line.<name>`; its payload says the line, the version and why.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from prefect.events import emit_event

from flows.life.line_notes import is_first_sight
from flows.server.artifacts import in_a_run
from pipeline.settings import Settings
from pipeline.unicode_names import composed

LINE_RESOURCE = "linewise.line."
"""Begins the id of a line's resource; the line's name follows as it is."""

POLICY_LABEL = "linewise.drift.policy"
"""Of a drift event's resource: the line's policy, by which automations choose."""


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


def telling_of_new_lines(settings: Settings) -> Callable[[str], None]:
    """What takes the folders of lines that are not registered, image by image, and tells of each once for all runs."""
    met: set[str] = set()

    def tell(folder: str) -> None:
        if folder not in met:
            met.add(folder)
            if is_first_sight(settings, composed(folder)):
                tell_of_line(LineEvent.APPEARED, composed(folder))

    return tell
