"""A folder of images, with its subfolders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from deploy.results.records import path_text
from deploy.scoring.sources.line_masks import LineMasks, draws_region
from deploy.scoring.sources.shard import Shard
from deploy.scoring.sources.source import SourceItem
from pipeline.imaging.files import iter_image_files
from pipeline.imaging.not_read import NotRead


class FolderSource:
    """The image files of a folder, ordered by name, as a stream: the folder may hold any number of them. A line's masks
    and its region of interest are left out.

    Args:
        folder: searched with its subfolders.
        leave_out: a folder below it that is not searched, where our own pictures go; None: none.
        shard: the share of the files that is taken; None: all of them.
    """

    def __init__(self, folder: Path, leave_out: Path | None = None, shard: Shard | None = None) -> None:
        self._folder = folder
        self.shard = shard
        self._leave_out = own_folder(folder, leave_out)
        self.name = path_text(folder)
        self._not_read = NotRead(folder)
        self._masks = LineMasks(folder)

    @property
    def remarks(self) -> Sequence[str]:
        """What was left out and why, once the folder was listed to its end: by `total`, or by `items`."""
        return (*self._not_read.sentences, *self._masks.sentences)

    @property
    def left_out(self) -> str:
        """The same without what to do about it; empty: nothing was."""
        return ", ".join(found for found in (self._not_read.found, self._masks.found) if found)

    @property
    def pictures_left_out(self) -> int:
        """How many files are pictures by their suffix and not read, once the folder was listed to its end."""
        return self._not_read.pictures

    @property
    def total(self) -> int:
        """How many files there are. Lists the folder and keeps nothing: some 0.03 ms a file on a local disk."""
        return sum(1 for _ in self._files())

    def items(self) -> Iterator[SourceItem]:
        """See `ImageSource`.

        Raises:
            StorageError: the folder, or one below it, cannot be listed.
        """
        for path in self._files():
            yield SourceItem(name=str(path.relative_to(self._folder)), path=path)

    def _files(self) -> Iterator[Path]:
        not_read, holds_masks = NotRead(self._folder), lru_cache(maxsize=1024)(self._masks.hold)
        for path in iter_image_files(self._folder, lambda path: None if self._is_own(path) else not_read.see(path)):
            if not (self._is_own(path) or holds_masks(path.parent) or draws_region(path)) and self._is_ours(path):
                yield path
        self._not_read = not_read

    def _is_ours(self, path: Path) -> bool:
        return self.shard is None or self.shard.holds(path.relative_to(self._folder))

    def _is_own(self, path: Path) -> bool:
        return self._leave_out is not None and path.absolute().is_relative_to(self._leave_out)


def own_folder(folder: Path, leave_out: Path | None) -> Path | None:
    """`leave_out`, made absolute, where it lies below `folder`."""
    own = leave_out.absolute() if leave_out is not None else None
    return own if own is not None and own.is_relative_to(folder.absolute()) else None
