"""Rows of the result store for other programs: Parquet and CSV, streamed, in files that appear whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from deploy.reports.rows import harmless_cell
from deploy.results.schema import PartRow, RegionRow, ResultRow
from pipeline.errors import ConfigError
from pipeline.storage import replacing_binary, replacing_text
from pipeline.unicode_names import one_line

ROW_GROUP = 16_384
"""Rows that are in memory at once, and that a reader of the Parquet file can skip at once."""

_RESULT_TYPES = {
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
    "kind": "string",
    "kind_probability": "float64",
}
COLUMNS = tuple(_RESULT_TYPES)
"""Of both formats, in order; see `deploy.results.schema.ResultRow`."""
_PART_TYPES = {
    "line": "string",
    "part": "string",
    "bundle_id": "string",
    "bundle_version": "string",
    "decision": "string",
    "reason": "string",
    "worst_view": "string",
    "image_path": "string",
    "image_sha256": "string",
    "score": "float64",
    "p_value": "float64",
    "reject_threshold": "float64",
    "review_threshold": "float64",
    "views_expected": "int64",
    "views_seen": "string",
    "views_missing": "string",
    "decided_at": "timestamp",
    "kind": "string",
    "kind_probability": "float64",
}
_IMAGE_OF_REGION_TYPES = {
    name: _RESULT_TYPES[name]
    for name in (
        "line",
        "bundle_id",
        "bundle_version",
        "image_path",
        "image_sha256",
        "image_height",
        "image_width",
        "score",
        "decision",
        "scored_at",
        "kind",
        "kind_probability",
    )
}
_PLACE_TYPES = {
    "number": "int64",
    "x": "float64",
    "y": "float64",
    "width": "float64",
    "height": "float64",
    "area": "float64",
    "area_mm2": "float64",
    "peak": "float64",
    "mean": "float64",
    "contour": "string",
}
PART_COLUMNS = tuple(_PART_TYPES)
"""Of parts; see `deploy.results.schema.PartRow`. Several views stand in one cell, with commas between them."""


REGION_COLUMNS = (*_IMAGE_OF_REGION_TYPES, *_PLACE_TYPES)
"""Of regions; see `deploy.results.schema.RegionRow`. The contour is JSON: [[x, y], ...]."""


class ExportFormat(StrEnum):
    """What rows can be exported as."""

    PARQUET = "parquet"
    CSV = "csv"


def export_rows(rows: Iterable[ResultRow], path: Path, file_format: ExportFormat) -> int:
    """Write rows of images in the order they come; return how many.

    Parquet has typed columns, times in microseconds of UTC, and a row group for 16,384 rows. CSV has a header line,
    empty fields where there is nothing, times as ISO 8601 with their zone, and an apostrophe before text that a
    spreadsheet would run as a formula, and what is no text in names escaped (`one_line`).

    Raises:
        ConfigError: pyarrow, which Parquet needs, is not installed.
        StorageError: the file cannot be written; an older one is then still there.
    """
    return _write(rows, path, file_format, _RESULT_TYPES)


def export_parts(rows: Iterable[PartRow], path: Path, file_format: ExportFormat) -> int:
    """Write rows of parts, likewise."""
    return _write(rows, path, file_format, _PART_TYPES)


def export_regions(rows: Iterable[tuple[ResultRow, RegionRow]], path: Path, file_format: ExportFormat) -> int:
    """Write rows of regions, each after what is told of its image, likewise."""
    cells = ((*_values(image, _IMAGE_OF_REGION_TYPES), *_values(region, _PLACE_TYPES)) for image, region in rows)
    return _write_cells(cells, path, file_format, _IMAGE_OF_REGION_TYPES | _PLACE_TYPES)


def _write(
    rows: Iterable[ResultRow] | Iterable[PartRow], path: Path, file_format: ExportFormat, types: Mapping[str, str]
) -> int:
    return _write_cells((_values(row, types) for row in rows), path, file_format, types)


def _write_cells(
    cells: Iterable[tuple[Any, ...]], path: Path, file_format: ExportFormat, types: Mapping[str, str]
) -> int:
    if file_format is ExportFormat.PARQUET:
        return _write_parquet(cells, path, types)
    count = 0
    with replacing_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(types)
        for count, row in enumerate(cells, 1):  # noqa: B007 - the last number is the result
            writer.writerow(harmless_cell(_text(value)) for value in row)
    return count


def _write_parquet(rows: Iterable[tuple[Any, ...]], path: Path, columns: Mapping[str, str]) -> int:
    try:  # not among the runtime's own needs: it alone would make the plant's installation 170 MB larger
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            "pyarrow, which writes Parquet", "none installed", "run pip install 'linewise[parquet]', or export CSV"
        ) from error

    types = {"timestamp": pyarrow.timestamp("us", tz="UTC"), "float64": pyarrow.float64(), "int64": pyarrow.int64()}
    schema = pyarrow.schema([(name, types.get(kind, pyarrow.string())) for name, kind in columns.items()])
    count = 0
    with replacing_binary(path) as file, pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(rows):
            values = zip(*group, strict=True)
            arrays = [pyarrow.array(column, field.type) for column, field in zip(values, schema, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), row_group_size=ROW_GROUP)
            count += len(group)
    return count


def _groups(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    remaining = iter(rows)
    while group := list(islice(remaining, ROW_GROUP)):
        yield group


def _values(row: ResultRow | PartRow | RegionRow, types: Mapping[str, str]) -> tuple[Any, ...]:
    return tuple(_plain(getattr(row, name)) for name in types)


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, list):
        return ",".join(value) if all(isinstance(each, str) for each in value) else json.dumps(value)
    return value


def _text(value: Any) -> str | float | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return one_line(value) if isinstance(value, str) else value
