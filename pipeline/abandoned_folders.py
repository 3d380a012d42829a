"""Half-filled folders that killed writers left: told from those of living writers, and removed.

Whoever fills a folder holds the kernel's lock on it, which goes with the process. Where a file system has no locks,
nothing is ever taken for abandoned.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def held_folder(new_name: Callable[[], Path]) -> Iterator[Path]:
    """Make a folder under a new name, and hold it until the end.

    Raises:
        OSError: it cannot be made.
    """
    path, descriptor = _made_and_held(new_name)
    try:
        yield path
    finally:
        os.close(descriptor)


def _made_and_held(new_name: Callable[[], Path]) -> tuple[Path, int]:
    while True:  # a sweeper may come between making and holding
        path = new_name()
        path.mkdir()
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists():
                return path, descriptor
            os.close(descriptor)


def sweep_abandoned(folder: Path, name: re.Pattern[str]) -> None:
    """Remove the folders of a name that nobody holds any more. What cannot be removed stays: it is the next one's."""
    with suppress(OSError):
        for path in [path for path in folder.iterdir() if name.fullmatch(path.name)]:
            with suppress(OSError):
                _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    finally:
        os.close(descriptor)
