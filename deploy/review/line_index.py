"""The lines that the review page offers, and how each does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from deploy.bundles.registry import Registry
from deploy.results.schema import ResultRow, RunRow
from deploy.results.store import ResultStore
from deploy.review.questions import Asked, decisions_since, latest_result, open_questions
from pipeline.calibration import Decision


@dataclass(frozen=True)
class LineOverview:
    """A line at a glance.

    Args:
        line: its name.
        latest: its newest result; None: nothing was scored.
        decided: how many images got each decision lately.
        open: flagged images that nobody said a word on.
        registered: whether it has versions, and not results alone.
    """

    line: str
    latest: ResultRow | None
    decided: dict[Decision, int]
    open: int
    registered: bool


def lines_of(store: ResultStore, registry: Registry) -> list[str]:
    """The lines that are registered or were scored, sorted."""
    with store.session() as session:
        scored = set(session.scalars(select(RunRow.line).distinct()))
    return sorted(scored | set(registry.lines()))


def line_overviews(store: ResultStore, registry: Registry, since: datetime) -> list[LineOverview]:
    """All lines, with what was decided since a time."""
    found: list[LineOverview] = []
    registered = set(registry.lines())
    for line in lines_of(store, registry):
        with store.session() as session:
            latest = latest_result(session, line)
            if latest is None:
                found.append(LineOverview(line, None, dict.fromkeys(Decision, 0), 0, line in registered))
                continue
            asked = Asked(line=line, bundle_id=latest.bundle_id, reject_threshold=latest.reject_threshold, by="")
            decided = decisions_since(session, line, since)
            unsaid = open_questions(session, asked)
            found.append(LineOverview(line, latest, decided, unsaid, line in registered))
    return found
