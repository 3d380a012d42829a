"""What the result store takes and answers, and the form it keeps paths in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from deploy.results.schema import QuestionKind, ResultStatus, Verdict
from pipeline.calibration import Decision
from pipeline.regions import Region


class NewMessage(NamedTuple):
    """What is to be told of a result; see `OutboxRow`."""

    message_id: str
    destination: str
    line: str
    decision: str
    body: str


class NewResult(NamedTuple):
    """A row that is to be stored; its fields are `ResultRow`'s, whose objects take ten times as long to make.

    `regions` become rows of their own, and so does `message`, where the row is news.
    """

    run_id: int
    line: str
    bundle_id: str
    bundle_version: str
    image_path: str
    image_sha256: str | None
    status: ResultStatus
    reason: str | None
    score: float | None
    decision: Decision | None
    reject_threshold: float
    review_threshold: float
    overlay_path: str | None
    scored_at: datetime
    p_value: float | None = None
    image_height: int | None = None
    image_width: int | None = None
    regions: tuple[Region, ...] = ()
    message: NewMessage | None = None
    image_depth: int | None = None
    look_brightness: float | None = None
    look_contrast: float | None = None
    look_fineness: float | None = None
    look_red: float | None = None
    look_blue: float | None = None
    look_profiles: bytes | None = None
    kind: str | None = None
    kind_probability: float | None = None


class PartView(NamedTuple):
    """A view of a part: its name, and the result of its image; fields are `ResultRow`'s."""

    view: str
    image_path: str
    image_sha256: str | None
    decision: Decision | None
    score: float | None
    p_value: float | None
    reason: str | None
    kind: str | None = None
    kind_probability: float | None = None


class NewPart(NamedTuple):
    """A part's row that is to be stored; its fields are `PartRow`'s.

    `views` become rows of their own, and so does `message`, where the row is news.
    """

    line: str
    part: str
    bundle_id: str
    bundle_version: str
    content_id: str
    decision: Decision
    reason: str | None
    worst_view: str
    image_path: str
    image_sha256: str | None
    score: float | None
    p_value: float | None
    reject_threshold: float
    review_threshold: float
    views_expected: int
    views_seen: list[str]
    views_missing: list[str]
    decided_at: datetime
    views: tuple[PartView, ...]
    message: NewMessage | None = None
    kind: str | None = None
    kind_probability: float | None = None


class NewVerdict(NamedTuple):
    """What a person says of one image content of a line; its fields are `VerdictRow`'s.

    `said_at`: when, with a zone; None: now, as it is stored.
    """

    line: str
    image_path: str
    image_sha256: str
    verdict: Verdict
    by: str | None = None
    note: str | None = None
    said_at: datetime | None = None
    kind: str | None = None
    box: list[float] | None = None
    question: QuestionKind | None = None
    bundle_id: str | None = None


@dataclass(frozen=True)
class Duplicate:
    """A file whose content had a result of the same bundle already, under the other path."""

    path: str
    same_as: str


class StoredScore(NamedTuple):
    """The score of a content that was met before. `score` is None where the model gave no finite number.

    Its height and width are None where it was scored before they were kept.
    """

    image_path: str
    score: float | None
    decision: Decision
    reason: str | None
    overlay_path: str | None
    image_height: int | None = None
    image_width: int | None = None
    kind: str | None = None
    kind_probability: float | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the upright image."""
        height, width = self.image_height, self.image_width
        return None if height is None or width is None else (height, width)


def path_text(path: Path) -> str:
    """A path, made absolute, as text any database takes: bytes that are no UTF-8 are escaped in hex."""
    return os.fsencode(path.absolute()).decode(errors="backslashreplace")
