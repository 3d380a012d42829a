"""Durable files: written whole or not at all, and failures as sentences.

Durable means: the bytes are fsynced before their name appears, and the folder is fsynced after it. A process killed
at any moment leaves the old state or the new one, and at worst a dot file that the next writer sweeps.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from pipeline.abandoned_folders import held_folder, sweep_abandoned
from pipeline.errors import StorageError

PARTIAL_SUFFIX = ".partial"
"""Ends the name of what is still being written; such names also begin with a dot."""

_LOCK_POLL_SECONDS = 0.05
_RENAME_EXCHANGE = 2  # renameat2(2)


def storage_error(error: OSError, path: Path) -> StorageError:
    """The sentence for an operating-system error while using `path`."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return StorageError(
                f"room on the disk to write {path}",
                "a full disk (or a used-up quota)",
                "free some space or choose another folder, then run it again",
            )
        case errno.EROFS:
            return StorageError(f"a writable folder for {path}", "a read-only file system", "choose another folder")
        case errno.EACCES | errno.EPERM:
            return StorageError(f"permission to use {path}", "permission denied", "change its owner or mode")
        case errno.ENOENT | errno.ENOTDIR:
            return StorageError(f"an existing path at {path}", "nothing there", "check the path")
        case errno.ENAMETOOLONG:
            return StorageError(f"a name that the file system takes for {path}", "one that is too long", "shorten it")
        case _:
            reason = error.strerror or str(error) or type(error).__name__
            return StorageError(f"to read or write {path}", f"'{reason}'", "check the disk and the folder")


def plain_storage_error(error: OSError) -> StorageError | None:
    """The sentence for an operating-system error that nobody on its way had words for; None where it names no path."""
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return None
    return storage_error(error, Path(os.fsdecode(error.filename)))


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn any `OSError` inside into the `StorageError` that speaks of `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes | Path) -> str:
    """Write bytes, or a copy of a file, to the new file `path`, fsync it, and return the sha256 of what was written."""
    digest = hashlib.sha256()
    with path.open("xb") as target:
        if isinstance(content, bytes):
            digest.update(content)
            target.write(content)
        else:
            with content.open("rb") as source:
                _copy(source, target, digest)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _copy(source: BinaryIO, target: BinaryIO, digest: hashlib._Hash) -> None:
    while chunk := source.read(1 << 20):
        digest.update(chunk)
        target.write(chunk)


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace (or make) `path` in one atomic step. A failure leaves the old file.

    Args:
        path: the file.
        content: its new bytes.
        durable: wait until the disk has them; not worth it for what can be made again.

    Raises:
        StorageError: the folder is full, read-only or not there.
    """
    partial = _partial_name(path)
    with storage_errors(path):
        try:
            if durable:
                write_durably(partial, content)
            else:
                partial.write_bytes(content)
            partial.replace(path)
            if durable:
                fsync_folder(path.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def replacing_text(path: Path) -> Iterator[TextIO]:
    """A UTF-8 text file, as `replacing_binary`."""
    with replacing_binary(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        try:
            yield text
        finally:
            text.detach()  # flushes, and leaves closing to the one who opened


@contextmanager
def replacing_binary(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the name `path` when the body is through, and vanishes when it raises.

    Raises:
        StorageError: the folder is full, read-only or not there; an older file is then still there.
    """
    partial = _partial_name(path)
    with storage_errors(path):
        try:
            with partial.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def make_folder_of(path: Path) -> None:
    """Make the folder that `path` lies in.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"a folder {path.parent} to write into", reason, "name another output folder") from error


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A folder beside `final` to fill; it takes the name `final` at the end, or vanishes when the body raises.

    `final` may be an empty folder already, which is then replaced.

    Raises:
        StorageError: something is already there, or the disk is full, read-only or not there.
    """
    with storage_errors(final):
        if final.is_symlink() or final.is_file() or (final.is_dir() and any(final.iterdir())):
            raise _already_there(final)
    with _filled_folder(final, _take_free_name) as partial:
        yield partial


@contextmanager
def replacing_folder(final: Path) -> Iterator[Path]:
    """As `new_folder`, but a folder that is already there is replaced in one atomic step; a failure leaves it.

    Not atomic where the file system cannot let two names change places (NFS): a process that is killed between two
    renames leaves the older folder beside `final`, as a dot folder.

    Raises:
        StorageError: something else than a folder is there, or the disk is full, read-only or not there.
    """
    with storage_errors(final):
        if final.is_symlink() or final.is_file():
            raise _already_there(final)
    with _filled_folder(final, _take_name_of_older) as partial:
        yield partial


@contextmanager
def _filled_folder(final: Path, take_name: Callable[[Path, Path], None]) -> Iterator[Path]:
    make_folder_of(final)
    sweep_abandoned(final.parent, re.compile(rf"\.{re.escape(final.name)}\.[0-9a-f]{{8}}{re.escape(PARTIAL_SUFFIX)}"))
    with storage_errors(final), held_folder(lambda: _partial_name(final)) as partial:
        try:
            yield partial
            for folder, _, _ in os.walk(partial):
                fsync_folder(Path(folder))
            take_name(partial, final)
            fsync_folder(final.parent)
        finally:  # half-made, or an older folder that changed places with it; gone where it was renamed
            shutil.rmtree(partial, ignore_errors=True)


def _take_free_name(partial: Path, final: Path) -> None:
    try:
        partial.rename(final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):  # another writer was first
            raise _already_there(final) from error
        raise


def _take_name_of_older(partial: Path, final: Path) -> None:
    if not final.exists():
        _take_free_name(partial, final)
    elif not _swap_names(partial, final):
        aside = _partial_name(final)
        final.rename(aside)
        try:
            partial.rename(final)
        except OSError:
            aside.rename(final)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _swap_names(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where system or file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # Linux; Python has no function for it
    names = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    return rename is not None and rename(0, names[0], 0, names[1], _RENAME_EXCHANGE) == 0


def _already_there(final: Path) -> StorageError:
    return StorageError(f"a new name at {final}", "something there", "choose another name; nothing is overwritten")


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")


def sweep_partials(folder: Path) -> None:
    """Remove what killed writers left in `folder`. Call it only under the lock that every writer there takes."""
    for path in folder.glob(f".*{PARTIAL_SUFFIX}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def file_lock(path: Path, *, timeout_seconds: float = 60.0) -> Iterator[None]:
    """Hold an exclusive lock across processes and threads. The kernel lets go of it when its holder dies.

    Raises:
        StorageError: the lock file cannot be made, or another process holds it for longer than `timeout_seconds`.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise StorageError(
                        f"the lock {path} to be free within {timeout_seconds:g} s",
                        "another process holding it",
                        "wait for the other linewise command to end, then run it again",
                    ) from error
                time.sleep(_LOCK_POLL_SECONDS)
        yield
