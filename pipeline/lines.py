"""A product line on disk: MVTec AD layout, or simply `good/` and `defect/` (masks optional)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageRecord:
    """One image of a line. `kind` is "good" or the defect's name; `mask_path` only for defects that have one."""

    path: Path
    line: str
    kind: str
    mask_path: Path | None = None

    @property
    def is_defect(self) -> bool:
        """Whether the image shows a defect."""
        return self.kind != "good"


@dataclass(frozen=True)
class ProductLine:
    """A product line: records sorted by path.

    `name` is "<data set>/<line>" when found below a data-set folder, else the folder's name. `data_set` groups close
    relatives: lines of one data set never straddle a split.
    """

    name: str
    data_set: str
    root: Path
    train_good: tuple[ImageRecord, ...]
    test_good: tuple[ImageRecord, ...]
    defects: tuple[ImageRecord, ...]

    @property
    def has_masks(self) -> bool:
        """Whether any defect has a mask."""
        return any(record.mask_path is not None for record in self.defects)
