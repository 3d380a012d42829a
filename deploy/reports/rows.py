"""A run's rows for other programs: JSON and CSV, streamed, one row an image, in the order they come."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.calibration import Decision
from pipeline.regions import Region
from pipeline.storage import replacing_text
from pipeline.unicode_names import one_line

ROWS_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One image of a run. Scored rows have score and decision, unreadable ones a reason.

    `p_value`: the share of the line's good parts that score at least so high; None where nobody can tell.
    `kind`: the likeliest kind of defect of a flagged image with its probability, or "none of these"; None: not asked.
    `regions`: where a flagged image is marked, the largest first.
    """

    line: str
    bundle_version: str
    path: str
    sha256: str | None
    score: float | None = None
    decision: Decision | None = None
    reason: str | None = None
    p_value: float | None = None
    kind: str | None = None
    kind_probability: float | None = None
    regions: tuple[Region, ...] = ()

    @property
    def status(self) -> str:
        """`scored` or `unreadable`."""
        return "scored" if self.decision is not None else "unreadable"


_OF_IMAGE = ("line", "bundle_version", "path", "sha256", "status", "score", "decision", "reason", "p_value")
_OF_LARGEST = ("x", "y", "width", "height", "area", "area_mm2", "peak", "mean")
_OF_KIND = ("kind", "kind_probability")
COLUMNS = (*_OF_IMAGE, "regions", *(f"region_{name}" for name in _OF_LARGEST), *_OF_KIND)
"""Of the CSV, in order: an image's, how many regions it has (empty where it was not scored), the largest one's, and the
kind of its defect."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: Path, rows: Iterable[ReportRow]) -> int:
    """Write the rows as CSV with a header line (UTF-8, fields empty where there is nothing); return how many.

    What is no text in a name is escaped (`one_line`), and text that a spreadsheet would run as a formula gets an
    apostrophe in front: file names come from anywhere. The JSON has names exactly.

    Raises:
        StorageError: the file cannot be written; an older one is then still there.
    """
    count = 0
    with replacing_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the result
            writer.writerow(harmless_cell(one_line(cell) if isinstance(cell, str) else cell) for cell in _cells(row))
    return count


def write_json(path: Path, about: dict[str, Any], rows: Iterable[ReportRow]) -> int:
    """Write `{"format_version": 1, ...about, "rows": [...]}`, one row a line; return how many.

    Args:
        path: the file.
        about: what holds for the whole run, JSON-ready; must not use the keys `format_version` and `rows`.
        rows: as in `write_csv`.

    Raises:
        StorageError: the file cannot be written; an older one is then still there.
        ValueError: a number is nan or infinite, which JSON cannot hold.
    """
    assert not {"format_version", "rows"} & about.keys(), "write_json sets these itself"
    count = 0
    with replacing_text(path) as file:
        head = json.dumps({"format_version": ROWS_FORMAT, **about}, allow_nan=False)
        file.write(f'{head[:-1]}, "rows": [')
        for count, row in enumerate(rows, 1):
            file.write(("," if count > 1 else "") + "\n" + json.dumps(_values(row), allow_nan=False))
        file.write("\n]}\n")
    return count


def _values(row: ReportRow) -> dict[str, Any]:
    given = asdict(row) | {"status": row.status}
    return {name: given[name] for name in (*_OF_IMAGE, *_OF_KIND, "regions")}


def _cells(row: ReportRow) -> list[Any]:
    of_image = [getattr(row, name) for name in _OF_IMAGE]
    of_kind = [getattr(row, name) for name in _OF_KIND]
    if not row.regions:
        return [*of_image, 0 if row.status == "scored" else None, *(None for _ in _OF_LARGEST), *of_kind]
    largest = row.regions[0]
    of_largest = [*largest.box, largest.area, largest.area_mm2, largest.peak, largest.mean]
    return [*of_image, len(row.regions), *of_largest, *of_kind]


def harmless_cell(value: str | float | None) -> str | float | None:
    """A CSV cell; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def cell_text(cell: str) -> str:
    """What `harmless_cell` was given: the text without that apostrophe."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell
