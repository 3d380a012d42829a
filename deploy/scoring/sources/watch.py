"""A folder that is watched: new images as a camera writes them, taken only when they are complete.

By polling: one listing of the folder every quarter of a second (and never more than half of the time), which works on
network shares too, where the kernel tells nobody of what another machine wrote. Names may be used again, as by a ring
buffer: a file that is written again is given again, whenever that is. Nothing is read here to find that out; whoever
reads the file says whether its content is new (`Taking`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from deploy.results.records import path_text
from deploy.scoring.sources.folder import own_folder
from deploy.scoring.sources.line_masks import LineMasks, draws_region
from deploy.scoring.sources.source import LiveSource, SourceItem
from deploy.scoring.sources.taken import CountedNames, Placed, TakenFile, Taking, Written, placed, written
from pipeline.errors import StorageError
from pipeline.imaging.files import instead_of_folder, is_image_name
from pipeline.imaging.not_read import is_note, remedy
from pipeline.product_lines.layout_names import surely_masks
from pipeline.system_files import is_passed_over

_POLL_SECONDS = 0.25

# Taken files that are looked at in a poll, in turn: a look costs ten times what the name in the listing costs. A name
# that was just taken is looked at in every poll for a minute, one that was used again for an hour.
_LOOKS = 5_000
_OFTEN_SECONDS = 60.0
_USED_AGAIN_SECONDS = 3600.0

_COARSE_SECONDS = 2.0  # the coarsest clock of a file system, FAT's; its times are whole seconds, as others' hardly are
_DOUBTS = 8  # files in a poll that are read for a doubt: some shares give all of their files new inodes at times

_STAYS_SECONDS = 60.0  # a file without an image's name for so long is not about to be renamed into one
_RESTLESS_SECONDS = 60.0  # an image that is written to for so long is told
_TOLD_NAMES = 8

_Inode = tuple[int, int]  # device and number: what a rename keeps


@dataclass(frozen=True)
class _Seen:
    """A file that may still be written to, by our own clock: a share's may differ."""

    written: Written
    inode: _Inode
    since: float  # when it was first seen as it is
    first: float  # when it was first seen since it was taken last
    from_before: bool = False  # as it is since before the watch began: an earlier one may have given it


@dataclass
class _Poll:
    """What one listing found."""

    seen: dict[str, _Seen] = field(default_factory=dict)
    by_inode: dict[_Inode, str] = field(default_factory=dict)
    taken: dict[str, TakenFile] = field(default_factory=dict)
    doubts: dict[str, tuple[Placed, float]] = field(default_factory=dict)  # with the time since when
    ready: list[tuple[int, str, Written, Placed]] = field(default_factory=list)  # by the time they were written
    listed: bool = False  # by this one or one before


class WatchedFolder(LiveSource):
    """The images of a folder, first those that are there, then new ones, until it is stopped.

    A file is complete when its size and its time of writing have not changed for `settle_seconds` (for two seconds
    where times are whole seconds), or when it appears under an image's name by a rename, unchanged since the poll
    before. It is given once, and once more each time that it was written again or that another took its name; one that
    may have been, as only its inode or its time of change is another, is given to be compared by its content. Files and
    folders may come and go at any time, and what is gone is forgotten.

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
            raise StorageError("a folder to watch", got, instead_of_folder(folder))
        super().__init__()
        self._folder = folder
        self._leave_out = own_folder(folder, leave_out)
        self._settle_seconds = settle_seconds
        self._masks = LineMasks(folder)
        self._last = _Poll()
        self._taken: dict[str, TakenFile] = {}
        self._turn = 0
        self._told: list[str] = []
        self._told_suffixes: set[str] = set()
        self._restless: set[str] = set()
        self._lost = CountedNames()
        self._lost_at_once = CountedNames()
        self._repeated = CountedNames()
        self.name = path_text(folder)

    @property
    def remarks(self) -> list[str]:
        """See `ImageSource`. How many files that are is said once the folder was watched to its end."""
        said, ended = [*self._told, *self._masks.sentences], self._stopped.is_set()
        if self._lost.count:
            said.append(
                "Removed or replaced before they were complete, and so without a decision: "
                f"{self._lost.told(exactly=ended)}. Let the camera use more names."
            )
        if self._lost_at_once.count:
            said.append(
                "There before the watch began and removed or replaced before they were looked at: "
                f"{self._lost_at_once.told(exactly=ended)}. Those that an earlier run scored have its decision."
            )
        if self._repeated.count:
            said.append(
                "Written again with the content that they had, and counted again with its decision: "
                f"{self._repeated.told(exactly=ended)}. Does the camera still take new images?"
            )
        return said

    def items(self) -> Iterator[SourceItem | None]:
        """See `ImageSource`. A folder that cannot be listed for a while is waited for."""
        while not self._stopped.is_set():
            began = time.monotonic()
            given = self._poll(began)
            seconds = time.monotonic() - began
            for item in given:
                if self._stopped.is_set():
                    return
                yield item
            yield None
            self._stopped.wait(max(_POLL_SECONDS, seconds))

    def again(self, folders: Set[str]) -> int:
        """Give the files that lie directly in these folders, paths below this one, once more as if they were new.

        Returns:
            How many that are.
        """
        inside = {os.path.join(self._folder, folder) for folder in folders}  # noqa: PTH118 - as scandir writes paths
        given = [path for path in self._taken if os.path.dirname(path) in inside]  # noqa: PTH120
        for path in given:
            file = self._taken.pop(path)
            self._last.seen[path] = _Seen(file.written, file.placed[:2], -math.inf, -math.inf)  # complete as it is
        return len(given)

    def _poll(self, now: float) -> Iterator[SourceItem]:
        """The files that are complete now and were not given as they are, in the order they were written."""
        poll = _Poll(listed=self._last.listed)
        self._turn += 1
        self._list(str(self._folder), poll, now, set())
        self._count_lost(poll)
        self._last, self._taken = poll, poll.taken  # whoever clears the folder also clears our memory
        poll.ready.sort()
        for _, path, as_written, place in poll.ready:
            self._take(path, as_written, place, now)
        settled = [path for path, (_, since) in poll.doubts.items() if now - since >= self._settle_seconds][:_DOUBTS]
        for path in settled:
            self._taken[path].placed, _ = poll.doubts.pop(path)
        given = chain(((path, False) for _, path, _, _ in poll.ready), ((path, True) for path in settled))
        return (self._item(path, doubtful=doubtful) for path, doubtful in given)

    def _count_lost(self, poll: _Poll) -> None:
        """Count the images of the poll before that were not complete, and are nowhere any more."""
        for path, seen in sorted(self._last.seen.items()):
            now, elsewhere = poll.seen.get(path), poll.seen.get(poll.by_inode.get(seen.inode, ""))
            is_there = now is not None and now.inode == seen.inode
            is_there |= elsewhere is not None and elsewhere.written == seen.written  # else its inode has a new file
            is_image = is_image_name(path) and not is_passed_over(os.path.basename(path))  # noqa: PTH119
            if is_image and not is_there and seen.written[0] > 0:
                (self._lost_at_once if seen.from_before else self._lost).add(self._name_of(path))

    def _take(self, path: str, written: Written, place: Placed, now: float) -> None:
        seen = self._last.seen.pop(path)
        if (old := self._taken.get(path)) is None:
            self._taken[path] = TakenFile(written, place, now + _OFTEN_SECONDS, seen.from_before)
        else:
            old.written, old.placed, old.often_until, old.from_before = written, place, now + _USED_AGAIN_SECONDS, False

    def _item(self, path: str, *, doubtful: bool) -> SourceItem:
        name, file = self._name_of(path), self._taken[path]
        lost = partial(self._lost_at_once.add, name) if file.from_before else None
        taking = Taking(file, file.written, file.placed, doubtful, partial(self._repeated.add, name), lost)
        return SourceItem(name=name, path=Path(path), taking=taking)

    def _name_of(self, path: str) -> str:
        return path.removeprefix(os.path.join(self._folder, ""))  # noqa: PTH118 - as scandir writes paths

    def _list(self, folder: str, poll: _Poll, now: float, entered: set[tuple[int, int]]) -> None:
        try:
            status = os.stat(folder)  # noqa: PTH116 - this runs for every folder, four times a second
            if (status.st_dev, status.st_ino) in entered:
                return  # links that loop
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = list(listing)
            poll.listed = True
        except OSError as error:
            if folder == str(self._folder):
                self._remark(f"{folder} could not be listed for a while ({error.strerror or error}).")
                poll.seen, poll.taken = self._last.seen, self._taken  # a share that is away has not lost its files
            return  # a folder below it may vanish at any time
        for entry in entries:
            path = entry.path
            if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(path)):  # noqa: PTH112
                if not (is_passed_over(entry.name) or self._is_own(path) or self._is_of_masks(path)):
                    self._list(path, poll, now, entered)
            elif not draws_region(path):
                self._look_at(entry, poll, now)

    def _look_at(self, entry: os.DirEntry[str], poll: _Poll, now: float) -> None:
        path = entry.path
        is_image = is_image_name(entry.name) and not is_passed_over(entry.name)
        taken = self._taken.get(path) if is_image else None
        if taken is not None:
            poll.taken[path] = taken
            if not self._is_due(path, taken, now):
                return  # its name is enough: in a full folder this saves nearly every look at a file
        try:
            status = entry.stat()
        except OSError:
            return  # gone since the listing, or a link to nothing
        if taken is not None and taken.written == written(status):
            if taken.placed != placed(status):
                place, since = self._last.doubts.get(path, (None, now))
                poll.doubts[path] = placed(status), since if place == placed(status) else now
            return
        if self._is_complete(path, status, poll, now, is_image=is_image):
            poll.ready.append((status.st_mtime_ns, path, written(status), placed(status)))

    def _is_due(self, path: str, taken: TakenFile, now: float) -> bool:
        rounds = 1 + len(self._taken) // _LOOKS
        return (
            hash(path) % rounds == self._turn % rounds
            or now < taken.often_until
            or path in self._last.seen
            or path in self._last.doubts
        )

    def _is_complete(self, path: str, status: os.stat_result, poll: _Poll, now: float, *, is_image: bool) -> bool:
        """Whether an image that was not given as it is can be given now; notes what was seen for the next poll."""
        inode = (status.st_dev, status.st_ino)
        other_name = self._last.by_inode.get(inode, path)
        own = self._last.seen.get(path)
        before = self._last.seen.get(other_name) or own
        unchanged = before is not None and before.written == written(status)
        since = before.since if before is not None and unchanged else now
        first = own.first if own is not None else now
        from_before = not self._last.listed if before is None else unchanged and before.from_before
        poll.seen[path] = _Seen(written(status), inode, since, first, from_before)
        poll.by_inode[inode] = path
        if not is_image:
            if now - since >= _STAYS_SECONDS:
                self._tell_of_suffix(os.path.basename(path))  # noqa: PTH119 - see above
            return False  # looked at for the name that it may take
        if now - first >= _RESTLESS_SECONDS and since == now:
            self._tell_of_restless(self._name_of(path))
        renamed = unchanged and other_name != path
        is_coarse = status.st_mtime_ns % 1_000_000_000 == 0
        settle_seconds = max(self._settle_seconds, _COARSE_SECONDS) if is_coarse else self._settle_seconds
        return status.st_size > 0 and (renamed or now - since >= settle_seconds)

    def _tell_of_restless(self, name: str) -> None:
        if len(self._restless) < _TOLD_NAMES and name not in self._restless:
            self._restless.add(name)
            self._remark(
                f"{name} was written to for a minute without a pause of {self._settle_seconds:g} s, so that no image "
                "of it could be taken: let the camera use a new name for each image, or rename what is complete."
            )

    def _tell_of_suffix(self, name: str) -> None:
        """Say once of a suffix that its files are left out."""
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - of every such file, four times a second
        if suffix in self._told_suffixes or len(self._told_suffixes) == _TOLD_NAMES:
            return
        if not (is_passed_over(name) or is_note(name)):
            self._told_suffixes.add(suffix)
            files = f"Files of {suffix}" if suffix else "Files without a suffix"
            self._remark(f"{files} are left out, not read as images, such as {name}: {remedy([suffix])}.")

    def _is_of_masks(self, path: str) -> bool:
        return surely_masks(os.path.basename(path)) and self._masks.hold(Path(path))  # noqa: PTH119 - see above

    def _is_own(self, path: str) -> bool:
        return self._leave_out is not None and Path(path).absolute() == self._leave_out

    def _remark(self, text: str) -> None:
        if text not in self._told:
            self._told.append(text)
