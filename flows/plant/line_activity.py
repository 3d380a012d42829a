"""What the lines do: their live bundles, and when each had its last image scored. Torch-free and Prefect-free."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deploy.bundles.registry import Registry
from deploy.results.database import parse_url
from deploy.results.store import ResultStore
from pipeline.errors import LinewiseError
from pipeline.settings import Settings


@dataclass(frozen=True, kw_only=True)
class LineActivity:
    """A line of the registry.

    Args:
        line: its name.
        version: the live bundle's; None: none is live.
        made_at: when that bundle was made.
        last_scored: when its last image was scored, with whatever bundle; None: none was.
        problem: why it cannot score.
    """

    line: str
    version: str | None
    made_at: datetime | None
    last_scored: datetime | None
    problem: str | None = None

    @property
    def last_sign(self) -> datetime | None:
        """Since when a live line has been silent: its last score, or its bundle where it has none yet."""
        return None if self.version is None else self.last_scored or self.made_at


def line_activities(settings: Settings) -> tuple[LineActivity, ...]:
    """All lines of the home. No result store is made where there is none.

    Raises:
        LinewiseError: registry or result store cannot be read.
    """
    registry = Registry(settings.home)
    url = parse_url(settings.database)
    empty = url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()
    with nullcontext() if empty else ResultStore(settings.database) as store:
        return tuple(_activity(registry, line, store.last_scored if store else _never) for line in registry.lines())


def _never(_line: str) -> None:
    return None


def _activity(registry: Registry, line: str, last_scored: Callable[[str], datetime | None]) -> LineActivity:
    scored = last_scored(line)
    try:
        live = next((record for record in registry.versions(line) if record.live), None)
    except LinewiseError as error:  # the pointer is damaged
        return LineActivity(line=line, version=None, made_at=None, last_scored=scored, problem=str(error))
    if live is None:
        return LineActivity(line=line, version=None, made_at=None, last_scored=scored)
    return LineActivity(
        line=line,
        version=live.version,
        made_at=live.created_at,
        last_scored=scored,
        problem=live.problem,
    )
