"""What a line's folder holds and the line does not rest on, in the words of both `linewise lines check` and `adapt`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.imaging.files import iter_image_files
from pipeline.imaging.not_read import NotRead
from pipeline.product_lines.copies import find_copies, without_copies
from pipeline.product_lines.layout_names import REGION_FILES
from pipeline.product_lines.line_report import copy_sentences
from pipeline.product_lines.line_sentences import unused_sentences
from pipeline.product_lines.lines import MASK_FOLDERS, ProductLine, load_line


@dataclass(frozen=True)
class LeftOut:
    """Sentences on what a line's folder holds and the line does not rest on, and how many files that is by reason."""

    sentences: tuple[str, ...]
    counts: dict[str, int]


def load_distinct_line(path: Path) -> tuple[ProductLine, LeftOut]:
    """The line in a folder with each content once, and what is left out of it.

    Raises:
        LineError: as `load_line` says, or a good image has the content of a defective one.
        StorageError: a file cannot be read.
    """
    line = load_line(path)
    copies = find_copies(line)
    unused, not_read = unused_files(line)
    said = (*copy_sentences(line.root, copies), *unused_sentences(line.root, unused), *not_read.sentences)
    once = without_copies(line, copies)
    counts = {
        "equal to another": _learned_from(line) - _learned_from(once),
        "not used in this layout": len(unused),
        "not read": not_read.count,
    }
    return once, LeftOut(said, counts)


def _learned_from(line: ProductLine) -> int:
    return len(line.train_good) + len(line.defects)


def unused_files(line: ProductLine) -> tuple[tuple[Path, ...], NotRead]:
    """The image files in a line's folder that are no image and no mask of it, and what is no image file."""
    records = (*line.train_good, *line.test_good, *line.defects)
    known = {record.path for record in records} | {record.mask_path for record in records}
    known |= {line.root / name for name in REGION_FILES}
    not_read = NotRead(line.root, masks=[line.root / name for name in MASK_FOLDERS])
    unused = tuple(file for file in iter_image_files(line.root, not_read.see) if file not in known)
    return unused, not_read
