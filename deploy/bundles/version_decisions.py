"""What was decided about a line's versions, by whom and why: `decisions.json` in the line's folder.

The latest word on a version counts. One that was rolled back stays so until a person promotes it: nothing automatic may
make it live again, nor another version with the same head and threshold.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from deploy.bundles.manifest import VersionName
from pipeline.errors import BundleError
from pipeline.storage import replace_file, storage_errors

DECISIONS = "decisions.json"
_KEPT = 1000  # decisions of a line: two a day are more than a year of them


class Ruling(StrEnum):
    """What can become of a version."""

    PROMOTED = "promoted"
    HELD = "held"
    ROLLED_BACK = "rolled back"


class VersionDecision(BaseModel):
    """One decision on a version. `by`: the person, as they call themselves, or "gate"; None: nobody said.

    `live`: the version that was live before it; None: none was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: VersionName
    ruling: Ruling
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    by: str | None = None
    why: tuple[str, ...] = ()
    live: VersionName | None = None


class _DecisionFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    decisions: tuple[VersionDecision, ...] = ()


def read_decisions(line_folder: Path) -> tuple[VersionDecision, ...]:
    """The decisions on a line's versions, the latest last; empty where nobody noted any.

    Raises:
        BundleError: the file is damaged.
        StorageError: it cannot be read.
    """
    path = line_folder / DECISIONS
    with storage_errors(path):
        if not path.exists():
            return ()
        encoded = path.read_bytes()
    try:
        return _DecisionFile.model_validate_json(encoded).decisions
    except ValidationError as error:
        remedy = "restore it, or remove it and promote the version you want: which ones were rolled back is then lost"
        raise BundleError(f"the decisions on a line's versions in {path}", "something else", remedy) from error


def add_decision(line_folder: Path, decision: VersionDecision) -> None:
    """Note a decision behind the others. Under the line's lock only; the file is replaced in one step.

    What is noted is done at once, unless its process was killed between the two: the same decision, made again, takes
    the place of such a note. Of more than are kept the oldest go, but never the word on a version that was rolled back.

    Raises:
        BundleError: the file is damaged.
        StorageError: it cannot be written; what was noted stays.
    """
    noted = read_decisions(line_folder)
    if noted and decision.ruling is not Ruling.HELD and _subject(noted[-1]) == _subject(decision):
        noted = noted[:-1]
    noted = (*noted, decision)
    barred = rolled_back(noted)
    old, new = noted[:-_KEPT], noted[-_KEPT:]
    kept = tuple(one for one in old if one.ruling is Ruling.ROLLED_BACK and one.version in barred)
    encoded = _DecisionFile(decisions=(*kept, *new)).model_dump_json(indent=2)
    replace_file(line_folder / DECISIONS, f"{encoded}\n".encode())


def _subject(decision: VersionDecision) -> tuple[str, Ruling, str | None]:
    return decision.version, decision.ruling, decision.live


def words_on_versions(decisions: Iterable[VersionDecision]) -> dict[str, VersionDecision]:
    """The word on each version that counts: the latest, but that a gate holds what was rolled back changes nothing."""
    words: dict[str, VersionDecision] = {}
    for one in decisions:
        before = words.get(one.version)
        if before is None or before.ruling is not Ruling.ROLLED_BACK or one.ruling is not Ruling.HELD:
            words[one.version] = one
    return words


def rolled_back(decisions: Iterable[VersionDecision]) -> frozenset[str]:
    """The versions that were rolled back, and that nobody promoted since."""
    words = words_on_versions(decisions)
    return frozenset(version for version, word in words.items() if word.ruling is Ruling.ROLLED_BACK)
