"""What a watched folder remembers of the files that it gave, so that a name that is used again is given again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

Written = tuple[int, int]
"""Size, and time of the last write in ns: what nearly every writing changes."""
Placed = tuple[int, int, int]
"""Device, inode, and time of the last change of any kind in ns: what a writing may change alone, but a rename too."""


def written(status: os.stat_result) -> Written:
    """How a file was written."""
    return status.st_size, status.st_mtime_ns


def placed(status: os.stat_result) -> Placed:
    """Which file it is."""
    return status.st_dev, status.st_ino, status.st_ctime_ns


@dataclass(slots=True)
class TakenFile:
    """A name that was given, as its file was then.

    `often_until` is the time until which it is looked at in every poll. `from_before`: it is as it was before the watch
    began. `content` is a part of the sha256 of what was read under the name last, None before that: the whole of it
    would be three times as much memory.
    """

    written: Written
    placed: Placed
    often_until: float
    from_before: bool = False
    content: int | None = None


@dataclass(frozen=True)
class Taking:
    """One taking of a watched file, for whoever reads it, in any thread.

    Args:
        file: its memory, which may be of a later writing by now.
        written: as it was when it was taken.
        placed: likewise.
        doubtful: only `Placed` had changed: its content decides whether it was written at all.
        on_repeat: called where it was written, and with the content that it had.
        on_lost: to be called where it is gone before it was read, and an earlier watch had given it; None: none can.
    """

    file: TakenFile
    written: Written
    placed: Placed
    doubtful: bool
    on_repeat: Callable[[], None]
    on_lost: Callable[[], None] | None = None

    @property
    def since(self) -> datetime | None:
        """When the file came to be what was taken, by its file system's clock; None: at no time that there is."""
        try:
            return datetime.fromtimestamp(max(self.written[1], self.placed[2]) / 1e9, UTC)
        except (OverflowError, ValueError, OSError):
            return None

    def problem(self, path: Path) -> str | None:
        """Why what was just read from `path` is not what was taken; None: it is, or it went away after it was read."""
        try:
            now = written(path.stat())
        except OSError:
            return None
        if now == self.written:
            return None
        return (
            "expected the image that was complete under this name, got a file that was written again before it was "
            "read: let the camera use more names, or score on more workers"
        )

    def is_news(self, sha256: str) -> bool:
        """Take in what was read; False where the file was not written since it was read before."""
        content = int(sha256[:16], 16)
        before, self.file.content = self.file.content, content
        if before != content:
            return True
        if not self.doubtful:
            self.on_repeat()
        return not self.doubtful


class CountedNames:
    """A count, with the name that was the first. May be added to from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.first = ""
        self.count = 0

    def add(self, name: str) -> None:
        """Count one more."""
        with self._lock:
            self.first = self.first or name
            self.count += 1

    def told(self, *, exactly: bool) -> str:
        """In words, which stay as they are while the count grows, unless `exactly`: a changed remark is shown again."""
        return f"{self.count:,} in all, first {self.first}" if exactly else f"files such as {self.first}"
