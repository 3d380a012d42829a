"""A line's masks and its region of interest in a folder to score: they show no parts, and are left out."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.product_lines.layout_names import REGION_FILES, surely_masks
from pipeline.product_lines.lines import holds_good_parts
from pipeline.unicode_names import one_line

_NAMED = 3  # folders that the sentence names before it only counts


class LineMasks:
    """The folders of masks that a walk through a folder of images meets.

    Args:
        folder: that is walked through. Whoever names a folder of masks itself has its images scored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: set[str] = set()

    def hold(self, folder: Path) -> bool:
        """Whether a folder, the one that is walked through or one below it, is of masks or lies in one that is."""
        if folder == self._folder:
            return False
        if surely_masks(folder.name) and _is_line(folder.parent):
            self._found.add(folder.relative_to(self._folder).as_posix())
            return True
        return self.hold(folder.parent)

    @property
    def found(self) -> str:
        """Which folders were left out; empty: none."""
        if not self._found:
            return ""
        first, more = sorted(self._found)[:_NAMED], len(self._found) - _NAMED
        names = ", ".join(f"{one_line(name)}/" for name in first) + (f" and {more} more" if more > 0 else "")
        return f"{names} left out, as masks of a line whose good parts lie beside them"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to say of them: one sentence, or none."""
        return (f"{self.found}: where they are parts, name their folder itself.",) if self._found else ()


def draws_region(path: str | Path) -> bool:
    """Whether a file is the one that draws the region of interest of the line in whose folder it lies."""
    folder, name = os.path.split(path)
    return name in REGION_FILES and _is_line(Path(folder))


def _is_line(folder: Path) -> bool:
    try:
        return holds_good_parts(folder)
    except OSError:  # a closed folder: whoever lists it says so
        return False
