"""What the result store answers, and the form it keeps paths in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.calibration import Decision


@dataclass(frozen=True)
class Duplicate:
    """A file whose content had a result of the same bundle already, under the other path."""

    path: str
    same_as: str


class StoredScore(NamedTuple):
    """The score of a content that was met before. `score` is None where the model gave no finite number."""

    image_path: str
    score: float | None
    decision: Decision
    overlay_path: str | None


def path_text(path: Path) -> str:
    """A path, made absolute, as text any database takes: bytes that are no UTF-8 are escaped in hex."""
    return os.fsencode(path.absolute()).decode(errors="backslashreplace")
