"""A folder that is watched: new images as a camera writes them, taken only when they are complete.

By polling: one listing of the folder every quarter of a second (and never more than half of the time), which works on
network shares too, where the kernel tells nobody of what another machine wrote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

from deploy.results.records import path_text
from deploy.scoring.sources.folder import own_folder
from deploy.scoring.sources.source import LiveSource, SourceItem
from pipeline.errors import StorageError
from pipeline.imaging.files import is_image_name
from pipeline.imaging.not_read import is_note, remedy
from pipeline.system_files import is_passed_over

_POLL_SECONDS = 0.25
_RETRY_SECONDS = 60.0  # a taken file that changes within this time was not complete after all, and is taken again

_STAYS_SECONDS = 60.0  # a file without an image's name for so long is not about to be renamed into one
_TOLD_SUFFIXES = 8

_State = tuple[int, int]  # size, time of the last write in ns


_Inode = tuple[int, int]  # device and number: what a rename keeps


@dataclass(frozen=True)
class _Seen:
    """A file that may still be written to."""

    state: _State
    since: float  # when this state was first seen, on our own clock: a share's may differ


@dataclass
class _Poll:
    """What one listing found."""

    seen: dict[str, _Seen] = field(default_factory=dict)
    by_inode: dict[_Inode, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    ready: list[tuple[int, str, _State]] = field(default_factory=list)  # by the time they were written


class WatchedFolder(LiveSource):
    """The images of a folder, first those that are there, then new ones, until it is stopped.

    A file is complete when its size and its time of writing have not changed for `settle_seconds`, or when it appears
    under an image's name by a rename, unchanged since the poll before. It is taken once; one that is written again
    within a minute (a camera that paused) is taken again. Files and folders may come and go at any time.

    Args:
        folder: watched with its subfolders, also those made later.
        leave_out: a folder below it that is not watched, where our own pictures go; None: none.
        settle_seconds: see above.

    Raises:
        StorageError: the folder is not there.
    """

    def __init__(self, folder: Path, leave_out: Path | None = None, *, settle_seconds: float = 1.0) -> None:
        if not folder.is_dir():
            got = "a file" if folder.exists() else f"no folder {folder}"
            raise StorageError("a folder to watch", got, "check the path")
        super().__init__()
        self._folder = folder
        self._leave_out = own_folder(folder, leave_out)
        self._settle_seconds = settle_seconds
        self._last = _Poll()
        self._taken: set[str] = set()
        self._recent: dict[str, tuple[_State, float]] = {}
        self._told_suffixes: set[str] = set()
        self.name = path_text(folder)
        self.remarks: list[str] = []

    def items(self) -> Iterator[SourceItem | None]:
        """See `ImageSource`. A folder that cannot be listed for a while is waited for."""
        while not self._stopped.is_set():
            began = time.monotonic()
            ready = self._poll(began)
            seconds = time.monotonic() - began
            for path in ready:
                if self._stopped.is_set():
                    return
                yield SourceItem(name=os.path.relpath(path, self._folder), path=Path(path))
            yield None
            self._stopped.wait(max(_POLL_SECONDS, seconds))

    def again(self, folders: Set[str]) -> None:
        """Give the files that lie directly in these folders, paths below this one, once more as if they were new."""
        inside = {os.path.join(self._folder, folder) for folder in folders}  # noqa: PTH118 - as scandir writes paths
        self._taken = {path for path in self._taken if os.path.dirname(path) not in inside}  # noqa: PTH120

    def _poll(self, now: float) -> list[str]:
        """The files that are complete now and were not taken yet, in the order they were written."""
        poll = _Poll()
        self._list(str(self._folder), poll, now, set())
        self._last = poll
        self._taken &= poll.names  # whoever clears the folder also clears our memory
        self._recent = {
            path: (state, until) for path, (state, until) in self._recent.items() if until > now and path in self._taken
        }
        poll.ready.sort()
        for _, path, state in poll.ready:
            self._taken.add(path)
            self._recent[path] = (state, now + _RETRY_SECONDS)
        return [path for _, path, _ in poll.ready]

    def _list(self, folder: str, poll: _Poll, now: float, entered: set[tuple[int, int]]) -> None:
        try:
            status = os.stat(folder)  # noqa: PTH116 - this runs for every folder, four times a second
            if (status.st_dev, status.st_ino) in entered:
                return  # links that loop
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            if folder == str(self._folder):
                self._remark(f"{folder} could not be listed for a while ({error.strerror or error}).")
                poll.seen, poll.names = self._last.seen, self._taken  # a share that is away has not lost its files
            return  # a folder below it may vanish at any time
        for entry in entries:
            path = entry.path
            if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(path)):  # noqa: PTH112
                if not is_passed_over(entry.name) and not self._is_own(path):
                    self._list(path, poll, now, entered)
            else:
                self._look_at(entry, poll, now)

    def _look_at(self, entry: os.DirEntry[str], poll: _Poll, now: float) -> None:
        path = entry.path
        is_image = is_image_name(entry.name) and not is_passed_over(entry.name)
        if is_image and path in self._taken and path not in self._recent:
            poll.names.add(path)  # its name is enough: in a full folder this saves nearly every look at a file
            return
        try:
            status = entry.stat()
        except OSError:
            return  # gone since the listing, or a link to nothing
        state, inode = (status.st_size, status.st_mtime_ns), (status.st_dev, status.st_ino)
        other_name = self._last.by_inode.get(inode, path)
        before = self._last.seen.get(path) or self._last.seen.get(other_name)
        unchanged = before is not None and before.state == state
        since = before.since if before is not None and unchanged else now
        poll.seen[path] = _Seen(state, since)
        poll.by_inode[inode] = path
        if not is_image:
            if now - since >= _STAYS_SECONDS:
                self._tell_of_suffix(entry.name)
            return  # looked at for the name that it may take
        poll.names.add(path)
        if path in self._taken and self._recent[path][0] == state:
            return
        renamed = unchanged and other_name != path
        if status.st_size > 0 and (renamed or now - since >= self._settle_seconds):
            poll.ready.append((status.st_mtime_ns, path, state))

    def _tell_of_suffix(self, name: str) -> None:
        """Say once of a suffix that its files are left out."""
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - of every such file, four times a second
        if suffix in self._told_suffixes or len(self._told_suffixes) == _TOLD_SUFFIXES:
            return
        if not (is_passed_over(name) or is_note(name)):
            self._told_suffixes.add(suffix)
            files = f"Files of {suffix}" if suffix else "Files without a suffix"
            self._remark(f"{files} are left out, not read as images, such as {name}: {remedy([suffix])}.")

    def _is_own(self, path: str) -> bool:
        return self._leave_out is not None and Path(path).absolute() == self._leave_out

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)
