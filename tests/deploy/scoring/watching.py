"""Watched folders whose clock the tests turn."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.scoring.sources.source import SourceItem
from deploy.scoring.sources.watch import WatchedFolder


class Watching:
    """A watched folder whose clock the test turns: `poll` says what is new, `seconds` after the poll before."""

    def __init__(self, folder: Path, **options) -> None:
        self.source = WatchedFolder(folder, **options)
        self.now = 100.0

    def poll(self, seconds: float = 0.25) -> list[str]:
        return [item.name for item in self.items(seconds)]

    def items(self, seconds: float = 0.25) -> list[SourceItem]:
        self.now += seconds
        return list(self.source._poll(self.now))


class Clock:
    """What a watched folder of a whole run takes for the time: the real one, and what the test adds to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr("deploy.scoring.sources.watch._POLL_SECONDS", 0.01)
        monkeypatch.setattr("deploy.scoring.sources.watch.time", SimpleNamespace(monotonic=self.monotonic))

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


def by_rename(path: Path, content: bytes) -> None:
    """Write a file as a careful camera does."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.rename(path)
