"""Image files of a folder: streamed, in a stable order, each real folder once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import StorageError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
"""Which files of a folder are taken for images, in lower case. What a file really is, its contents say."""


def iter_image_files(folder: Path) -> Iterator[Path]:
    """The image files under a folder, recursively; each folder's entries sorted by name, hidden ones skipped.

    Links to folders are followed, but every real folder is entered only once, so loops end. A broken link with an
    image's suffix is yielded: whoever reads it reports it, and nothing is lost in silence.

    Raises:
        StorageError: the folder, or one below it, does not exist or cannot be listed.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise StorageError("a folder of images", f"{got} at {folder}", "check the path")
    return _walk(folder, set())


def _walk(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Path]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        got = f"{error.strerror or error} at {folder}"
        raise StorageError("a folder that can be listed", got, "grant access to it or move it away") from error
    for entry in entries:
        path = folder / entry.name
        # isdir, unlike DirEntry.is_dir, answers no for a link that loops or leads where we may not look.
        if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(path)):  # noqa: PTH112
            yield from _walk(path, entered)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
