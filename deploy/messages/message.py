"""A result as a message: JSON whose form `docs/message.schema.json` says and `docs/messages.md` explains."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.messages.told import Told
from deploy.results.records import NewMessage, NewResult
from pipeline.regions import Region

MESSAGE_FORMAT, WITH_KIND_FORMAT = 1, 3
MAX_REGIONS = 50
"""How many of an image's regions a message tells, the largest; it counts all of them."""


def told_of(row: NewResult) -> Told:
    """What a message would say of a result."""
    return Told.UNREADABLE if row.decision is None else Told(row.decision.value)


def new_message(row: NewResult, destination: str) -> NewMessage:
    """The message that tells a destination of a result. Its file is asked when it was written, if it is one."""
    written = written_at(row.image_path)
    message_id = _message_id(row, written)
    body: dict[str, Any] = {
        "format_version": MESSAGE_FORMAT if row.kind is None else WITH_KIND_FORMAT,
        "id": message_id,
        "line": row.line,
        "bundle_version": row.bundle_version,
        "bundle_id": row.bundle_id,
        "image_path": row.image_path,
        "image_sha256": row.image_sha256,
        "image_width": row.image_width,
        "image_height": row.image_height,
        "decision": None if row.decision is None else row.decision.value,
        "score": row.score,
        "reject_threshold": row.reject_threshold,
        "review_threshold": row.review_threshold,
        "p_value": row.p_value,
        "reason": row.reason,
        "region_count": len(row.regions),
        "regions": [_region(region) for region in row.regions[:MAX_REGIONS]],
        "image_written_at": None if written is None else written.isoformat(),
        "scored_at": row.scored_at.isoformat(),
    }
    if row.kind is not None:
        body |= {"kind": row.kind, "kind_probability": row.kind_probability}
    return NewMessage(message_id, destination, row.line, told_of(row).value, json.dumps(body, allow_nan=False))


def payload(body: str) -> bytes:
    """A message as it is sent now: with the time, and the seconds since its file was written."""
    values, now = json.loads(body), datetime.now(UTC)
    written = values["image_written_at"]
    delay = None if written is None else round((now - datetime.fromisoformat(written)).total_seconds(), 3)
    return json.dumps(values | {"sent_at": now.isoformat(), "delay_seconds": delay}).encode()


def _message_id(row: NewResult, written: datetime | None) -> str:
    """Equal for equal content and bundle; for a file that could not be opened, for equal path and time of writing."""
    content = row.image_sha256 or f"{row.image_path}\n{written}"
    return hashlib.sha256(f"{row.bundle_id}\n{row.status}\n{content}".encode()).hexdigest()


def written_at(path: str) -> datetime | None:
    """When an image's file was last written; None where it is no file, or gone."""
    try:
        return datetime.fromtimestamp(Path(path).stat().st_mtime, UTC)
    except (OSError, ValueError):  # a frame is no file, and a file may be gone by now
        return None


def _region(region: Region) -> dict[str, Any]:
    return {"box": region.box, "area": region.area, "area_mm2": region.area_mm2, "peak": region.peak}
