"""Rows of the result store for other programs: Parquet and CSV, streamed, in files that appear whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from deploy.reports.rows import harmless_cell
from deploy.results.schema import ResultRow
from pipeline.errors import ConfigError
from pipeline.storage import replacing_binary, replacing_text
from pipeline.unicode_names import one_line

ROW_GROUP = 16_384
"""Rows that are in memory at once, and that a reader of the Parquet file can skip at once."""

_TYPES = {
    "run_id": "int64",
    "line": "string",
    "bundle_id": "string",
    "bundle_version": "string",
    "image_path": "string",
    "image_sha256": "string",
    "status": "string",
    "reason": "string",
    "score": "float64",
    "decision": "string",
    "reject_threshold": "float64",
    "review_threshold": "float64",
    "overlay_path": "string",
    "scored_at": "timestamp",
    "p_value": "float64",
    "image_height": "int64",
    "image_width": "int64",
}
COLUMNS = tuple(_TYPES)
"""Of both formats, in order; see `deploy.results.schema.ResultRow`."""


class ExportFormat(StrEnum):
    """What rows can be exported as."""

    PARQUET = "parquet"
    CSV = "csv"


def export_rows(rows: Iterable[ResultRow], path: Path, file_format: ExportFormat) -> int:
    """Write rows in the order they come; return how many.

    Parquet has typed columns, times in microseconds of UTC, and a row group for 16,384 rows. CSV has a header line,
    empty fields where there is nothing, times as ISO 8601 with their zone, and an apostrophe before text that a
    spreadsheet would run as a formula, and what is no text in names escaped (`one_line`).

    Raises:
        ConfigError: pyarrow, which Parquet needs, is not installed.
        StorageError: the file cannot be written; an older one is then still there.
    """
    if file_format is ExportFormat.PARQUET:
        return _write_parquet(rows, path)
    count = 0
    with replacing_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the result
            writer.writerow(harmless_cell(_text(value)) for value in _values(row))
    return count


def _write_parquet(rows: Iterable[ResultRow], path: Path) -> int:
    try:  # not among the runtime's own needs: it alone would make the plant's installation 170 MB larger
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            "pyarrow, which writes Parquet", "none installed", "run pip install 'linewise[parquet]', or export CSV"
        ) from error

    types = {"timestamp": pyarrow.timestamp("us", tz="UTC"), "float64": pyarrow.float64(), "int64": pyarrow.int64()}
    schema = pyarrow.schema([(name, types.get(kind, pyarrow.string())) for name, kind in _TYPES.items()])
    count = 0
    with replacing_binary(path) as file, pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(rows):
            columns = zip(*(_values(row) for row in group), strict=True)
            arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), row_group_size=ROW_GROUP)
            count += len(group)
    return count


def _groups(rows: Iterable[ResultRow]) -> Iterator[list[ResultRow]]:
    remaining = iter(rows)
    while group := list(islice(remaining, ROW_GROUP)):
        yield group


def _values(row: ResultRow) -> tuple[Any, ...]:
    values = (getattr(row, name) for name in COLUMNS)
    return tuple(str(value) if isinstance(value, StrEnum) else value for value in values)


def _text(value: Any) -> str | float | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return one_line(value) if isinstance(value, str) else value
