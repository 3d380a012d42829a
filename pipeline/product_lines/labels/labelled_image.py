"""What a tool says of one image, in whatever file it says it: the same for all tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.product_lines.labels.label_files import LabelSource
from pipeline.product_lines.labels.shapes import Shape


@dataclass(frozen=True)
class Label:
    """A kind of defect, or a word for good, and where it is; without shapes: said of the whole image."""

    kind: str
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class LabelledImage:
    """An image that somebody looked at in the tool.

    Args:
        path: of the image.
        labels: none where nothing was found on it.
        size: (height, width) on which the tool's places are; None: it does not say.
        place: of the labels, as sentences name it.
    """

    path: Path
    labels: tuple[Label, ...]
    size: tuple[int, int] | None
    place: str


Reader = Callable[[LabelSource], Iterator[LabelledImage]]
"""Reads a tool's labels. Raises `LineError`, which says where, for the first that cannot be used."""
