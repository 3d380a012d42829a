"""Tables of the pages: their rows and cells, and the means in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

METRICS = ("image_auroc", "pixel_auroc", "aupro")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, a line a row, the heads of its columns first."""
    return [table_row(columns), "|---" * len(columns) + "|", *map(table_row, rows)]


def table_row(cells: Iterable[str]) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def percent(values: Iterable[float]) -> str:
    """A table's cell: per cent, a dash where a metric is not defined."""
    return " / ".join("-" if math.isnan(value) else f"{100 * value:.1f}" for value in values)


def metrics(row: Mapping[str, Any], names: Sequence[str] = METRICS) -> list[float]:
    """These figures of an evaluation's row; nan where it has none."""
    return [math.nan if row.get(name) is None else float(row[name]) for name in names]


def mean(rows: Iterable[Sequence[float]]) -> list[float]:
    """The mean of each column over the rows, draws or lines, that have it; nan where none has."""
    columns = ([value for value in column if not math.isnan(value)] for column in zip(*rows, strict=True))
    return [float(np.mean(known)) if known else math.nan for known in columns]
