"""Tables from the rows of `linewise evaluate --csv`: learners line by line, and their gain over the memory bank.

    python -m benchmarks.gains benchmarks/auto.csv benchmarks/auto.md [--plot benchmarks/auto.svg]

Means are taken over draws; gains over data sets, so that relatives count once, with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.pages import percent, replace_figures
from pipeline.metrics import Interval, paired_bootstrap

METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
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


def means_table(cells: dict[str, dict[Cell, list[float]]], learners: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Means over the lines, a learner a row, the highest image AUROC with the most defects first."""
    means = {(name, n): mean(of_line[name, n] for of_line in cells.values()) for name in learners for n in counts}
    given = [f"{count or 'no'} defect{'' if count == 1 else 's'}" for count in counts]
    rows = [f"| mean of the lines | {' | '.join(given)} |", "|---" * (len(counts) + 1) + "|"]
    for name in sorted(learners, key=lambda name: -means[name, counts[-1]][0]):
        rows.append(f"| {name} | " + " | ".join(percent(means[name, count]) for count in counts) + " |")
    return rows


def gains(cells: dict[str, dict[Cell, list[float]]], cell: Cell, reference: str = REFERENCE) -> dict[str, list[float]]:
    """By data set, a learner's gain over the reference with as many defects, in points of each metric."""
    by_data_set: dict[str, list[list[float]]] = defaultdict(list)
    for line, gain in line_gains(cells, cell, reference).items():
        by_data_set[line.partition("/")[0]].append(gain)
    return {name: mean(values) for name, values in by_data_set.items()}


def line_gains(cells: dict[str, dict[Cell, list[float]]], cell: Cell, reference: str) -> dict[str, list[float]]:
    """The same by line."""
    pairs = {line: zip(of_line[cell], of_line[reference, cell[1]], strict=True) for line, of_line in cells.items()}
    return {line: [100 * (mine - other) for mine, other in pair] for line, pair in pairs.items()}


def interval(by_data_set: dict[str, list[float]], column: int) -> Interval:
    """Mean gain of a metric over data sets, with its 95 % bootstrap interval."""
    return paired_bootstrap([gain[column] for gain in by_data_set.values() if not math.isnan(gain[column])], seed=0)


def gain_table(
    cells: dict[str, dict[Cell, list[float]]], shown: Sequence[Cell], reference: str = REFERENCE
) -> list[str]:
    """Gains over the reference, the largest of image AUROC first, and each learner's worst line."""
    rows: list[tuple[float, str]] = []
    for cell in shown:
        of_cell = gains(cells, cell, reference)
        found = [interval(of_cell, column) for column in range(len(METRICS))]
        texts = " | ".join(f"{gain.mean:+.1f} [{gain.low:.1f}, {gain.high:.1f}]" for gain in found)
        of_lines = line_gains(cells, cell, reference)
        worst = min(of_lines, key=lambda line: of_lines[line][0])
        won = sum(gain[0] > 0 for gain in of_cell.values())
        text = f"| {label(cell)} | {texts} | {won} of {len(of_cell)} | {worst} {of_lines[worst][0]:+.1f} |"
        rows.append((found[0].mean, text))
    return [
        f"| over {reference} | image AUROC | pixel AUROC | AUPRO | data sets won | worst line, image AUROC |",
        "|---|---|---|---|---|---|",
        *(text for _, text in sorted(rows, key=lambda row: -row[0])),
    ]


def cost_table(path: Path, learners: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Thresholds and seconds: means over the lines; seconds with the most defects."""
    cells = read_cells(
        path, ("false_reject_rate", "missed_defect_rate", "meta_train_seconds", "adapt_seconds", "score_ms")
    )
    given = " / ".join(map(str, counts))
    rows = [
        f"| with {given} defects | false rejects, % | missed defects, % | meta-training, s | adaptation, s | "
        "scored image, ms |",
        "|---|---|---|---|---|---|",
    ]
    for learner in learners:
        means = [mean(of_line[learner, count] for of_line in cells.values()) for count in counts]
        rejects = " / ".join(f"{100 * each[0]:.1f}" for each in means)
        missed = " / ".join(f"{100 * each[1]:.0f}" for each in means)
        *_, trained, adapted, milliseconds = means[-1]
        training = "-" if math.isnan(trained) else f"{trained:.0f}"
        rows.append(f"| {learner} | {rejects} | {missed} | {training} | {adapted:.2f} | {milliseconds:.0f} |")
    return rows


def figures(path: Path) -> str:
    """All tables of a CSV file."""
    cells = read_cells(path, tuple(METRICS))
    every = {cell for of_line in cells.values() for cell in of_line}
    counts = sorted({count for _, count in every})
    others = sorted({name for name, _ in every} - {REFERENCE})
    parts: list[list[str]] = []
    if len(others) == 1:
        parts.append(line_table(cells, [(REFERENCE, counts[0]), *((name, n) for name in others for n in counts)]))
    else:
        parts.append(means_table(cells, [REFERENCE, *others], counts))
    parts += [gain_table(cells, [(name, count) for name in others]) for count in counts]
    if POOLED in others and len(others) > 1:
        shown = [name for name in others if name != POOLED]
        parts += [gain_table(cells, [(name, count) for name in shown], POOLED) for count in counts]
    parts.append(cost_table(path, [REFERENCE, *others], counts))
    return "\n\n".join("\n".join(part) for part in parts)


def draw(path: Path, target: Path) -> None:
    """A plot of every learner's gains over the memory bank with their intervals, one panel a metric."""
    cells = read_cells(path, tuple(METRICS))
    every = {cell for of_line in cells.values() for cell in of_line}
    counts = sorted({count for _, count in every})
    names = {name for name, _ in every} - {REFERENCE}
    shown = sorted(names, key=lambda name: interval(gains(cells, (name, counts[-1])), 0).mean)
    figure, panels = plt.subplots(1, len(METRICS), sharey=True, figsize=(12, 1 + 0.42 * len(shown)))
    for column, (panel, metric) in enumerate(zip(panels, METRICS, strict=True)):
        panel.axvline(0, color="0.6", linewidth=1)
        for place, count in enumerate(counts):
            found = [interval(gains(cells, (name, count)), column) for name in shown]
            heights = [row + 0.22 * (place - (len(counts) - 1) / 2) for row in range(len(shown))]
            around = [[f.mean - f.low for f in found], [f.high - f.mean for f in found]]
            panel.errorbar(
                [f.mean for f in found],
                heights,
                xerr=around,
                fmt="o",
                markersize=3,
                linewidth=1,
                label=f"{count} defect{'' if count == 1 else 's'}",
            )
        panel.set_title(METRICS[metric])
        panel.set_xlabel("points over the memory bank")
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(shown)), shown)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=len(counts), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("page", type=Path, nargs="?", help="written between its markers; without it printed")
    parser.add_argument("--plot", type=Path, help="an SVG of the gains over the memory bank")
    arguments = parser.parse_args()
    text = figures(arguments.csv)
    if arguments.page:
        replace_figures(arguments.page, text)
    else:
        print(text)
    if arguments.plot:
        draw(arguments.csv, arguments.plot)


if __name__ == "__main__":
    main()
