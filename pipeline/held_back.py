"""Images that a line's versions never learn from, so that versions can be compared on them.

Which these are is said by their content alone: whoever adapts the line again, tomorrow or on another machine, holds
back the same ones, and no version of a line that is gated has learned an image that a later one is judged on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_ONE_IN = 5
LEAST_TO_HOLD_BACK = 20
"""Labelled images of a kind below which all are learned from: a line with a handful needs each of them."""


def is_held_back(sha256: str) -> bool:
    """Whether a content, by its hex sha256, is one of the fifth that is held back."""
    return int(sha256[:8], 16) % _ONE_IN == 0


def to_learn_from(images: Sequence[T], sha256: Callable[[T], str]) -> tuple[T, ...]:
    """The images without those held back; all of them where they are few, or none would be left."""
    if len(images) < LEAST_TO_HOLD_BACK:
        return tuple(images)
    return tuple(image for image in images if not is_held_back(sha256(image))) or tuple(images)
