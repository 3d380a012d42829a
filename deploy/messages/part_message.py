"""A part of several views as one message; see `deploy.messages.message` for an image's."""

from __future__ import annotations

import json
from typing import Any

from deploy.messages.message import written_at
from deploy.messages.told import Told
from deploy.results.records import NewMessage, NewPart, PartView

PART_MESSAGE_FORMAT, PART_WITH_KIND_FORMAT = 2, 4
"""Of the form that has `part`; images that are no views are still told in formats 1 and 3."""

_OF_PART = ("kind", "kind_probability")
"""What a message tells of the view that decided, and of no other."""


def told_of_part(part: NewPart) -> set[Told]:
    """What a message would say of a part: its decision, and whether a view of it could not be read."""
    unreadable = any(seen.decision is None for seen in part.views)
    return {Told(part.decision.value)} | ({Told.UNREADABLE} if unreadable else set())


def part_message(part: NewPart, destination: str) -> NewMessage:
    """The message that tells a destination of a part. Its files are asked when the last of them was written."""
    times = [time for seen in part.views if (time := written_at(seen.image_path)) is not None]
    body: dict[str, Any] = {
        "format_version": PART_MESSAGE_FORMAT if part.kind is None else PART_WITH_KIND_FORMAT,
        "id": part.content_id,
        "line": part.line,
        "bundle_version": part.bundle_version,
        "bundle_id": part.bundle_id,
        "part": part.part,
        "decision": part.decision.value,
        "reason": part.reason,
        "worst_view": part.worst_view,
        "image_path": part.image_path,
        "image_sha256": part.image_sha256,
        "score": part.score,
        "reject_threshold": part.reject_threshold,
        "review_threshold": part.review_threshold,
        "p_value": part.p_value,
        "views_expected": part.views_expected,
        "views": [_view(seen) for seen in part.views],
        "views_missing": part.views_missing,
        "image_written_at": max(times).isoformat() if times else None,
        "decided_at": part.decided_at.isoformat(),
    }
    if part.kind is not None:
        body |= {"kind": part.kind, "kind_probability": part.kind_probability}
    return NewMessage(part.content_id, destination, part.line, part.decision.value, json.dumps(body, allow_nan=False))


def _view(seen: PartView) -> dict[str, Any]:
    told = {name: value for name, value in seen._asdict().items() if name not in _OF_PART}
    return told | {"decision": None if seen.decision is None else seen.decision.value}
