"""A plant's images: a folder that holds one folder for each line, under the line's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PurePosixPath

from deploy.results.records import path_text
from deploy.scoring.sources.source import SourceItem
from pipeline.imaging.images import iter_image_files


@dataclass(frozen=True)
class PlantItem:
    """An image with its line; without one, `place` is the folder that no registered line belongs to."""

    line: str | None
    place: str
    item: SourceItem


class PlantFolder:
    """The images below `folder`, ordered by name, as a stream: `bottling/caps/night/1.png` is of `bottling/caps`.

    Args:
        folder: searched with its subfolders.
        lines: names of the registered lines. Of two that fit, the longer one counts.
    """

    def __init__(self, folder: Path, lines: Iterable[str]) -> None:
        self._folder = folder
        self._lines = frozenset(lines)
        self._above = frozenset(above for line in lines for above in accumulate(line.split("/"), "{}/{}".format))
        self._find = lru_cache(maxsize=1024)(self._find_line)
        self.name = path_text(folder)

    @property
    def total(self) -> int:
        """How many image files there are. Lists the folder."""
        return sum(1 for _ in iter_image_files(self._folder))

    def items(self) -> Iterator[PlantItem]:
        """The images.

        Raises:
            StorageError: the folder, or one below it, cannot be listed.
        """
        for path in iter_image_files(self._folder):
            relative = path.relative_to(self._folder)
            line, place = self._find(relative.parent.as_posix())
            yield PlantItem(line, place, SourceItem(name=str(relative), path=path))

    def _find_line(self, parent: str) -> tuple[str | None, str]:
        """The longest line that the folder lies in; else None and the first folder that leads to no line."""
        folders = list(accumulate(PurePosixPath(parent).parts, "{}/{}".format))
        for name in reversed(folders):
            if name in self._lines:
                return name, name
        return None, next((name for name in folders if name not in self._above), parent)
