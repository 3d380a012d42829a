"""Flagged images as rows of an artifact's table, of a line as of a plant."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.scoring.image_result import ImageResult
from flows.server.artifacts import Cell

MAX_FLAGGED = 200
"""How many rows a table has."""


def flagged_rows(images: Sequence[ImageResult], limit: int = MAX_FLAGGED) -> list[dict[str, Cell]]:
    """A row for each of the first `limit` images."""
    return [
        {
            "image": image.label,
            "score": image.score,
            "p-value": image.p_value,
            "decision": image.decision,
            "kind": None if image.kind is None else image.kind.name,
            "reason": image.reason,
        }
        for image in images[:limit]
    ]
