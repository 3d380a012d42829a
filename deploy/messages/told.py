"""Which results can be told."""

from __future__ import annotations

from enum import StrEnum


class Told(StrEnum):
    """What a message says of an image: the decision on it, or that there is none."""

    PASS = "PASS"  # noqa: S105  # no password
    REVIEW = "REVIEW"
    REJECT = "REJECT"
    UNREADABLE = "UNREADABLE"
