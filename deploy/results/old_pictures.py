"""Pictures of flagged images that no row names any more.

A row lets go of its picture first (`retention.forget_old_pictures`), then the file goes: whoever is killed between
leaves a file that the next run finds, never a row that names what is not there. A file goes only where it is as old as
such rows are, so that neither a picture whose row is yet to be written goes, nor all of them where another database is
looked into than the pictures' own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path

from deploy.results.retention import pictured_contents
from deploy.results.store import ResultStore

_PICTURE = re.compile(r"([0-9a-f]{64})\.jpg")
_AT_ONCE = 256


def old_pictures(store: ResultStore, folder: Path, before: datetime) -> Iterator[tuple[Path, int]]:
    """Pictures that may go, and their bytes.

    Args:
        store: whose rows name pictures.
        folder: the lines' folders are in it, in each one for a bundle, named by its id's beginning; there may be none.
        before: the file was written before then, and so was the row that names it, unless a verdict keeps it.

    Raises:
        StorageError: rows cannot be read.
    """
    aged = (path for path in _pictures(folder) if written_before(path, before))
    while batch := list(islice(aged, _AT_ONCE)):
        kept = pictured_contents(store, [path.stem for path in batch], before)
        for path in batch:
            if not any(path.stem == sha256 and bundle_id.startswith(path.parent.name) for sha256, bundle_id in kept):
                with suppress(FileNotFoundError):  # another housekeeper's
                    yield path, path.stat().st_size


def written_before(path: Path, before: datetime) -> bool:
    """Whether a file is there and was written before a time."""
    try:
        return path.stat().st_mtime < before.timestamp()
    except FileNotFoundError:
        return False


def _pictures(folder: Path) -> Iterator[Path]:
    """All of them, folder by folder."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names if _PICTURE.fullmatch(name))
