"""A list file: one path a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy.results.records import path_text
from deploy.scoring.sources.source import SourceItem
from pipeline.errors import ConfigError
from pipeline.storage import storage_errors

_MAX_PATH = 4096  # Linux's PATH_MAX: a longer line is no path, and a file without line ends must not fill the memory


class ListSource:
    """The files a text file names: UTF-8, one path a line, relative to the file's own folder; empty lines are skipped.

    A path that is not there becomes an unreadable row with its line number; the rest is scored.

    Args:
        file: the list, of any length: it is read as a stream.
    """

    remarks: Sequence[str] = ()

    def __init__(self, file: Path) -> None:
        self._file = file
        self.name = path_text(file)

    @property
    def total(self) -> int:
        """How many lines name a path.

        Raises:
            StorageError: the list cannot be read.
            ConfigError: a line cannot be a path.
        """
        return sum(1 for _ in self._lines())

    def items(self) -> Iterator[SourceItem]:
        """See `ImageSource`. Raises as `total` does."""
        for number, text in self._lines():
            where = f"line {number} of {self._file.name}"
            yield SourceItem(name=text, path=self._file.parent / text, where=where)

    def _lines(self) -> Iterator[tuple[int, str]]:
        # Names of files need not be UTF-8; utf-8-sig drops the mark that Windows editors put first.
        with storage_errors(self._file), self._file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            number = 0
            while line := lines.readline(_MAX_PATH + 1):
                number += 1
                text = line.strip("\n\r\t ")
                if "\0" in text or len(line) > _MAX_PATH:
                    got = "one with a zero byte" if "\0" in text else f"one of more than {_MAX_PATH} characters"
                    raise ConfigError(
                        f"a path in line {number} of {self._file}", got, "write one path a line, as plain text"
                    )
                if "://" in text:
                    raise ConfigError(
                        f"a file's path in line {number} of {self._file}",
                        "a URL",
                        "give a stream as the source itself: linewise score LINE URL",
                    )
                if text:
                    yield number, text
