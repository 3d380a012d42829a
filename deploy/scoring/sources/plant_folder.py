"""A plant's images: a folder that holds one folder for each line, under the line's name."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import PurePath

from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.sources.watch import WatchedFolder
from pipeline.unicode_names import composed


@dataclass(frozen=True)
class PlantItem:
    """An image, the folder below the plant's that it lies in, and the registered line that this is; None: of none."""

    item: SourceItem
    folder: str
    line: str | None


class PlantFolder:
    """Images with their lines: `bottling/caps/night/1.png` is of `bottling/caps`. For one thread.

    Names are compared in composed Unicode, whichever form the folders have.

    Args:
        source: the folder of line folders, as it is or watched.
    """

    def __init__(self, source: FolderSource | WatchedFolder) -> None:
        self._source = source
        self._lines: Set[str] = frozenset()
        self._by_name: dict[str, str] = {}
        self._above: Set[str] = frozenset()
        self.name = source.name
        self.find = lru_cache(maxsize=16_384)(self._find)

    @property
    def remarks(self) -> list[str]:
        """What a reader should know about how the folder behaved, in sentences."""
        return list(self._source.remarks)

    def know(self, lines: frozenset[str]) -> None:
        """Take in the names of the registered lines. Costs nothing while it is the same object."""
        if lines is not self._lines:
            self._lines = lines
            self._by_name = {composed(line): line for line in lines}
            self._above = {above for line in self._by_name for above in accumulate(line.split("/"), "{}/{}".format)}
            self.find.cache_clear()

    def items(self) -> Iterator[PlantItem | None]:
        """The images in the order of the source; None where a watched folder has nothing more at the moment.

        Raises:
            StorageError: the folder, or one below it, cannot be listed.
        """
        for item in self._source.items():
            if item is None:
                yield None
                continue
            folder = PurePath(item.name).parent.as_posix()
            yield PlantItem(item, folder, self.find(folder)[0])

    @property
    def is_watched(self) -> bool:
        """Whether the folder goes on."""
        return isinstance(self._source, WatchedFolder)

    def again(self, folders: Set[str]) -> int | None:
        """Have a watched folder give the images of these folders once more: how many; None where it is not watched."""
        return self._source.again(folders) if isinstance(self._source, WatchedFolder) else None

    def _find(self, folder: str) -> tuple[str | None, str]:
        """The line of a folder, of two that fit the longer one; without any, the first folder that leads to none."""
        folders = list(accumulate(PurePath(folder).parts, "{}/{}".format))
        for name in reversed(folders):
            line = name if name in self._lines else self._by_name.get(composed(name))
            if line is not None:
                return line, name
        return None, next((name for name in folders if composed(name) not in self._above), folder)
