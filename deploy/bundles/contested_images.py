"""Images that a held version of a line flags and the live one does not: `contested.json` beside the line's bundles.

The gate writes them where nobody can say yet which of the two is right, and the review page asks about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.bundles.line_folder import slug
from deploy.bundles.registry import Registry
from pipeline.errors import BundleError, ConfigError, StorageError
from pipeline.storage import make_folder_of, replace_file, storage_errors

MOST = 100
"""Images that are noted, the first ones."""
_FILE = "contested.json"


class ContestedImages(BaseModel):
    """The version that flags them, and their contents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    images: tuple[str, ...]


def note_contested(home: Path, line: str, version: str, images: Sequence[str]) -> None:
    """Replace what is noted of a line in one step.

    Args:
        home: where the line's folder lies.
        line: its name.
        version: that is held.
        images: the sha256 of each, in an order that nothing they show decides: `MOST` are a sample then.

    Raises:
        StorageError: the disk is full or read-only; the old note stays.
    """
    path = _path(home, line)
    make_folder_of(path)
    noted = ContestedImages(version=version, images=tuple(images)[:MOST])
    replace_file(path, f"{noted.model_dump_json(indent=2)}\n".encode())


def contested_images(home: Path, line: str) -> tuple[str, ...]:
    """The sha256 of each.

    None where nothing is noted, the version has gone live since, or the note cannot be read: nobody is asked then.
    """
    try:
        path = _path(home, line)
        with storage_errors(path):
            encoded = path.read_bytes() if path.exists() else None
        noted = None if encoded is None else ContestedImages.model_validate_json(encoded)
        return () if noted is None or Registry(home).live_version(line) == noted.version else noted.images
    except (BundleError, ConfigError, StorageError, ValidationError):
        return ()


def _path(home: Path, line: str) -> Path:
    return home / "lines" / slug(line) / _FILE
