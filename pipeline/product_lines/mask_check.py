"""A defect's mask as it is read for `linewise lines check` and `adapt`: how much of its image it marks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ImageError
from pipeline.imaging.images import UnreadableImage, read_mask

NEARLY_ALL = 0.7
"""A mask that marks a larger share of its image is asked about. Of the masks of ten real lines none marks more than
0.58, and no line's median is above 0.23: turned inside out, most masks of every one of them would be asked about."""


@dataclass(frozen=True)
class ExaminedMask:
    """A readable mask that fits its image; `share` of the image's pixels are marked, 0..1."""

    path: Path
    share: float

    @property
    def marks_nearly_all(self) -> bool:
        """Whether it marks more than a defect takes."""
        return self.share > NEARLY_ALL


def examine_mask(path: Path, size: tuple[int, int]) -> ExaminedMask | UnreadableImage:
    """Read the mask of an image of that upright (height, width). Never raises for a bad file, which is a value."""
    try:
        return ExaminedMask(path, float(read_mask(path, size).mean()))
    except ImageError as error:
        return UnreadableImage(path, None, str(error))
