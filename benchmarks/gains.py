"""Tables from the rows of `linewise evaluate --csv`: learners line by line, and their gain over the memory bank.

    python -m benchmarks.gains benchmarks/auto.csv benchmarks/auto.md

Means are taken over draws; gains over data sets, so that relatives count once, with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.pages import percent, replace_figures
from pipeline.metrics import paired_bootstrap

METRICS = ("image_auroc", "pixel_auroc", "aupro")
REFERENCE = "memory_bank"
POOLED = "in_context"  # what the other meta-learners start from
Cell = tuple[str, int]
"""Learner and number of defects."""


def read_cells(path: Path, columns: Sequence[str]) -> dict[str, dict[Cell, list[float]]]:
    """By line, by learner and number of defects: the means over draws of some columns, nan where undefined."""
    draws: dict[str, dict[Cell, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            values = [float(row.get(column) or "nan") for column in columns]
            draws[row["line"]][row["learner"], int(row["defects"])].append(values)
    return {
        line: {cell: np.mean(values, axis=0).tolist() for cell, values in cells.items()}
        for line, cells in draws.items()
    }


def label(cell: Cell) -> str:
    """A cell in words."""
    return f"{cell[0]}, {cell[1] or 'no'} defect{'' if cell[1] == 1 else 's'}"


def mean(values: Iterable[Sequence[float]]) -> list[float]:
    """Column means over the rows that have a value."""
    columns = zip(*values, strict=True)
    return [float(np.mean(known)) if (known := [v for v in c if not math.isnan(v)]) else math.nan for c in columns]


def line_table(cells: dict[str, dict[Cell, list[float]]], shown: Sequence[Cell]) -> list[str]:
    """A line a row, a learner a column, and the mean of the lines."""
    rows = [
        "| line | " + " | ".join(label(cell) for cell in shown) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for line, of_line in sorted(cells.items()):
        rows.append(f"| {line} | " + " | ".join(percent(of_line[cell]) for cell in shown) + " |")
    means = (percent(mean(of_line[cell] for of_line in cells.values())) for cell in shown)
    return [*rows, "| **mean of the lines** | " + " | ".join(f"**{text}**" for text in means) + " |"]


def gain_table(
    cells: dict[str, dict[Cell, list[float]]], shown: Sequence[Cell], reference: str = REFERENCE
) -> list[str]:
    """Each learner's gain over the reference with as many defects, in points, and its worst data set."""
    rows = [
        f"| over {reference} | image AUROC | pixel AUROC | AUPRO | data sets won, image AUROC | worst, image AUROC |",
        "|---|---|---|---|---|---|",
    ]
    for cell in shown:
        by_data_set: dict[str, list[list[float]]] = defaultdict(list)
        for line, of_line in cells.items():
            pair = zip(of_line[cell], of_line[reference, cell[1]], strict=True)
            by_data_set[line.partition("/")[0]].append([100 * (mine - other) for mine, other in pair])
        gains = {name: mean(values) for name, values in by_data_set.items()}
        texts = []
        for column in range(len(METRICS)):
            interval = paired_bootstrap([g[column] for g in gains.values() if not math.isnan(g[column])], seed=0)
            texts.append(f"{interval.mean:+.1f} [{interval.low:.1f}, {interval.high:.1f}]")
        worst = min(gains, key=lambda name: gains[name][0])
        won = sum(gain[0] > 0 for gain in gains.values())
        rows.append(f"| {label(cell)} | {' | '.join(texts)} | {won} of {len(gains)} | {worst} {gains[worst][0]:+.1f} |")
    return rows


def cost_table(path: Path, shown: Sequence[Cell]) -> list[str]:
    """Thresholds and seconds: means over the lines."""
    columns = ("false_reject_rate", "missed_defect_rate", "meta_train_seconds", "adapt_seconds", "score_ms")
    cells = read_cells(path, columns)
    rows = [
        "| | false rejects, % | missed defects, % | meta-training, s | adaptation, s | scored image, ms |",
        "|---|---|---|---|---|---|",
    ]
    for cell in shown:
        rejects, missed, trained, adapted, milliseconds = mean(of_line[cell] for of_line in cells.values())
        training = "-" if math.isnan(trained) else f"{trained:.0f}"
        figures = f"{100 * rejects:.1f} | {100 * missed:.0f} | {training} | {adapted:.2f} | {milliseconds:.0f}"
        rows.append(f"| {label(cell)} | {figures} |")
    return rows


def figures(path: Path) -> str:
    """All tables of a CSV file."""
    cells = read_cells(path, METRICS)
    every = sorted({cell for of_line in cells.values() for cell in of_line}, key=lambda c: (c[0] != REFERENCE, *c))
    least = min(count for _, count in every)
    others = [cell for cell in every if cell[0] != REFERENCE]
    learners = {name for name, _ in others}
    parts = [gain_table(cells, others), cost_table(path, [(REFERENCE, least), *others])]
    if POOLED in learners and len(learners) > 1:
        parts.insert(1, gain_table(cells, [cell for cell in others if cell[0] != POOLED], POOLED))
    if len(learners) <= 2:
        parts.insert(0, line_table(cells, [(REFERENCE, least), *others]))
    return "\n\n".join("\n".join(part) for part in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("page", type=Path, nargs="?", help="written between its markers; without it printed")
    arguments = parser.parse_args()
    text = figures(arguments.csv)
    if arguments.page:
        replace_figures(arguments.page, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
