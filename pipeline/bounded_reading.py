"""Small files that nobody has vouched for: read whole, but never more of them than they may have."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import StorageError
from pipeline.storage import storage_errors


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """All bytes of a file that nobody has vouched for yet.

    Raises:
        StorageError: it is longer, or cannot be read.
    """
    with storage_errors(path), path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise StorageError(f"at most {max_bytes:,} bytes in {path}", "more", "replace it by the file that was written")
    return content
