"""Result rows for other programs: CSV and JSON, streamed, one row an image."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from deploy.results.schema import ResultRow
from deploy.storage import harmless_cell, replacing_text

COLUMNS = tuple(column.key for column in ResultRow.__table__.columns if column.key != "id")


def export_csv(path: Path, rows: Iterable[ResultRow]) -> int:
    """Write rows as CSV with a header line (UTF-8), replacing `path` in one step; return how many.

    Text that a spreadsheet would run as a formula gets an apostrophe in front: file names come from anywhere.

    Raises:
        StorageError: the file cannot be written; an older one is then still there.
    """
    count = 0
    with replacing_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the result
            writer.writerow(harmless_cell(value) for value in _values(row).values())
    return count


def export_json(path: Path, rows: Iterable[ResultRow]) -> int:
    """Write rows as a JSON array of objects, one a line, replacing `path` in one step; return how many.

    Raises:
        StorageError: the file cannot be written; an older one is then still there.
    """
    count = 0
    with replacing_text(path) as file:
        file.write("[")
        for count, row in enumerate(rows, 1):
            file.write(("," if count > 1 else "") + "\n" + json.dumps(_values(row), allow_nan=False))
        file.write("\n]\n")
    return count


def _values(row: ResultRow) -> dict[str, str | int | float | None]:
    values = {name: getattr(row, name) for name in COLUMNS}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
