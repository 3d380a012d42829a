"""Image files on disk: found in folders as a stream, and read whole, without trusting names or kinds."""

from __future__ import annotations

import errno
import heapq
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO

from pipeline.errors import ImageError, StorageError
from pipeline.imaging.encoded import COPY_AGAIN
from pipeline.system_files import is_passed_over

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
"""Which files of a folder are taken for images, in lower case. What a file really is, its contents say."""

ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})
"""Which files people take for the folder that is packed in them, in lower case."""

RAISE_THE_LIMIT = "set LINEWISE_MAX_PIXELS higher, where memory allows"
"""What to do about an image, or a file, that is larger than this machine is set to take."""

SORTED_IN_MEMORY = 100_000
"""So many entries of one folder are sorted in memory, about 15 MB; a larger folder is sorted on disk."""


def iter_image_files(folder: Path, on_other: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """The image files under a folder, recursively; each folder's entries sorted by name.

    What is hidden or a system's (`pipeline.system_files`) is passed over, but for the folder itself.

    `on_other` is called for every other file that is not passed over; `pipeline.imaging.not_read` counts them.

    Memory stays flat, however many files there are, in one folder or in all.

    Links to folders are followed, but every real folder is entered only once, so loops end. A broken link with an
    image's suffix is yielded: whoever reads it reports it, and nothing is lost in silence.

    Raises:
        StorageError: the folder, or one below it, does not exist or cannot be listed.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise StorageError("a folder of images", f"{got} at {folder}", instead_of_folder(folder))
    return _walk(folder, set(), on_other)


def _walk(folder: Path, entered: set[tuple[int, int]], on_other: Callable[[Path], None] | None) -> Iterator[Path]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        entries = _entries(folder, on_other)
    except OSError as error:
        got = f"{error.strerror or error} at {folder}"
        raise StorageError("a folder that can be listed", got, "grant access to it or move it away") from error
    for name, is_folder in entries:
        if is_folder:
            yield from _walk(folder / name, entered, on_other)
        else:
            yield folder / name


_Entry = tuple[str, bool]  # name, whether it is a folder


def _entries(folder: Path, on_other: Callable[[Path], None] | None) -> Iterator[_Entry]:
    """A folder's folders and image files, by name."""
    spilled: list[IO[str]] = []
    entries: list[_Entry] = []
    with os.scandir(folder) as listing:
        for entry in listing:
            # isdir, unlike DirEntry.is_dir, answers no for a link that loops or leads where we may not look.
            is_folder = entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))  # noqa: PTH112
            if is_passed_over(entry.name):
                continue
            if not (is_folder or is_image_name(entry.name)):
                if on_other is not None:
                    on_other(folder / entry.name)
                continue
            entries.append((entry.name, is_folder))
            if len(entries) == SORTED_IN_MEMORY:
                spilled.append(_spill(sorted(entries)))
                entries = []
    return heapq.merge(sorted(entries), *map(_read_spilled, spilled))


def _spill(entries: Sequence[_Entry]) -> IO[str]:
    file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - its reader closes it, or its end
    file.writelines(json.dumps(entry) + "\n" for entry in entries)  # JSON escapes what is no text in a name
    file.seek(0)
    return file


def _read_spilled(file: IO[str]) -> Iterator[_Entry]:
    with file:
        for line in file:
            name, is_folder = json.loads(line)
            yield name, is_folder


def instead_of_folder(path: Path) -> str:
    """What to do about a path that should be a folder and is none."""
    is_archive = path.suffix.lower() in ARCHIVE_SUFFIXES and path.is_file()
    return "unpack it, and name the folder that comes out" if is_archive else "check the path"


def instead_of_empty(folder: Path, otherwise: str) -> str:
    """What to do about a folder that lacks what was looked for, where it may lie packed in one that is there."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in ARCHIVE_SUFFIXES)
    archives = [name for name in names if not is_passed_over(name)]
    return f"unpack {archives[0]}, and name the folder that comes out" if archives else otherwise


def is_image_name(name: str) -> bool:
    """Whether a file of that name is taken for an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a name a million times, no path


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """All bytes of an ordinary file of at most `max_bytes`. Raises `ImageError` without naming the path."""
    with open_ordinary(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            got = f"{size:,} bytes"
            raise ImageError(f"at most {max_bytes:,} bytes", got, f"save a smaller image or {RAISE_THE_LIMIT}")
        data = file.read()
    if not data:
        raise ImageError("an image", "an empty file", COPY_AGAIN)
    return data


@contextmanager
def open_ordinary(path: Path) -> Iterator[FileIO]:
    """An ordinary file, open for reading; whatever else has the path is neither waited for nor read.

    Raises:
        ImageError: it is none, or it cannot be read, also in the body. The path is not named.
    """
    if "\0" in os.fspath(path):  # a table or a list may hold one; no file's name does
        raise ImageError("an image file", "a name with a zero byte", "correct the name")
    try:
        with open(path, "rb", buffering=0, opener=_open_without_blocking) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _no_file()
            yield file
    except FileNotFoundError as error:
        got = "a link to no such file" if path.is_symlink() else "no such file"
        raise ImageError("an image file", got, "check the path") from error
    except IsADirectoryError as error:
        raise ImageError("an image file", "a folder", "name a file") from error
    except PermissionError as error:
        raise ImageError("a readable image file", "permission denied", "grant read access to the file") from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, which cannot be opened
            raise _no_file() from error
        if error.errno == errno.ELOOP:
            raise ImageError("an image file", "a link that leads to itself", "check the path") from error
        got = error.strerror or str(error)
        raise ImageError("a readable image file", got, "check the disk or network share") from error


def _no_file() -> ImageError:
    return ImageError("an image file", "a pipe or device", "name a file")


def _open_without_blocking(path: str, flags: int) -> int:
    # Opening a named pipe that nobody writes to would otherwise hang the line.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
