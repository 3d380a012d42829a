"""A line's folder in the registry: its name, and the pointer to what is live in it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from deploy.bundles.manifest import VersionName
from pipeline.bounded_reading import read_at_most
from pipeline.errors import BundleError, ConfigError
from pipeline.storage import replace_file, storage_errors

LIVE = "live.json"
_MAX_BYTES = 64 * 1024
_MAX_SLUG_BYTES = 200  # file systems allow 255; the partial names of pipeline.storage need the rest


class LivePointer(BaseModel):
    """`live.json`: the live version, since when, and the versions live before it, the latest last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: VersionName
    since: AwareDatetime
    history: tuple[VersionName, ...] = ()


def read_pointer(line_folder: Path, remedy: str = "promote a version of this line") -> LivePointer | None:
    """What is live in a line's folder, None before the first promotion; `remedy` is for a damaged pointer.

    Raises:
        BundleError: the pointer is damaged.
        StorageError: it cannot be read.
    """
    path = line_folder / LIVE
    with storage_errors(path):
        if not path.exists():
            return None
        encoded = read_at_most(path, _MAX_BYTES)
    try:
        return LivePointer.model_validate_json(encoded)
    except ValidationError as error:
        raise BundleError(f"the name of the live version in {path}", "something else", remedy) from error


def write_pointer(line_folder: Path, pointer: LivePointer) -> None:
    """Replace the pointer in one step.

    Raises:
        StorageError: the disk is full or read-only; the old pointer stays.
    """
    replace_file(line_folder / LIVE, f"{pointer.model_dump_json(indent=2)}\n".encode())


def slug(line: str) -> str:
    """The folder name of a line: percent-encoded, so that `line_of` gives the name back.

    Raises:
        ConfigError: the name is empty, too long, or made to lead elsewhere ("..", "/x", control characters).
    """
    encoded = quote(line, safe=" ")
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"  # dot files are what is half written
    parts = line.split("/")
    usable = line.isprintable() and line.strip() == line and "\\" not in line
    if not usable or any(part in ("", ".", "..") for part in parts) or len(encoded.encode()) > _MAX_SLUG_BYTES:
        raise ConfigError(
            "a line's name (words, perhaps after a data set and a slash: 'mvtec/pill')",
            repr(line[:100]),
            "choose a shorter name of plain words",
        )
    return encoded


def line_of(folder: Path) -> str | None:
    """The line whose folder this is; None for a folder that no line's name leads to."""
    line = unquote(folder.name)
    try:
        return line if slug(line) == folder.name else None
    except ConfigError:
        return None  # not a failure: something else lies between the lines
