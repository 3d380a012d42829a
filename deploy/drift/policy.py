"""How a line is watched, and what follows an alarm: `drift.json` beside the line's bundles, set by a person."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.bundles.line_folder import slug
from pipeline.errors import ConfigError
from pipeline.storage import make_folder_of, replace_file, storage_errors

FILE = "drift.json"


class DriftPolicy(StrEnum):
    """What follows an alarm: a person is told; a new version is proposed to them; or it goes live if it proves better.

    Whatever it says, an alarm is told; the event carries it, and whoever listens acts on it.
    """

    TELL = "tell"
    PROPOSE = "propose"
    RE_ADAPT = "re-adapt"


class DriftSettings(BaseModel):
    """Of one line.

    Args:
        policy: what follows an alarm.
        alarms_a_year: that there are at most, on average, while nothing changes.
        block: images that are taken as one; see `deploy.drift.detector.Detector`. None: what the stream's first images
            say, see `deploy.drift.block`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: DriftPolicy = DriftPolicy.TELL
    alarms_a_year: float = Field(default=1.0, gt=0, le=1000)
    block: int | None = Field(default=None, ge=1, le=10_000)


def read_drift_settings(home: Path, line: str) -> DriftSettings:
    """A line's settings; the defaults where nobody set any.

    Raises:
        ConfigError: the file says something else, or no line can have that name.
        StorageError: it cannot be read.
    """
    path = _path(home, line)
    with storage_errors(path):
        if not path.exists():
            return DriftSettings()
        encoded = path.read_bytes()
    try:
        return DriftSettings.model_validate_json(encoded)
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise ConfigError(f"settings in {path}", f"'{said}'", "set them again with linewise drift") from error


def write_drift_settings(home: Path, line: str, settings: DriftSettings) -> None:
    """Replace a line's settings in one step.

    Raises:
        ConfigError: no line can have that name.
        StorageError: the disk is full or read-only; the old ones stay.
    """
    path = _path(home, line)
    make_folder_of(path)
    replace_file(path, f"{settings.model_dump_json(indent=2)}\n".encode())


def _path(home: Path, line: str) -> Path:
    return home / "lines" / slug(line) / FILE
