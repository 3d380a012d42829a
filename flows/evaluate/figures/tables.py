"""An evaluation's tables: the same cells for the console, for Markdown and for the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill

from rich.console import Group
from rich.table import Table
from rich.text import Text

from flows.evaluate.figures.contrasts import contrast_pairs, forgetting
from flows.evaluate.figures.evaluation_rows import METRIC, Metric, Setting
from flows.evaluate.figures.summary import Evaluation, Paired

HEADLINE = "image_auroc"
_MISSING = "–"
NARROW = (HEADLINE, "pixel_auroc", "aupro", "false_reject_rate", "missed_defect_rate", "adapt_seconds", "score_ms")
"""What a terminal shows first, most important first."""
WIDE = 110
"""Characters from which a terminal shows all of `COMPARED`."""
COMPARED = ("Difference", "95 % interval", "Won / tied / lost", "Worst line")
FORGOTTEN = ("At arrival", "Last stage", "Forgotten", "Lines")


def show(value: float, metric: Metric, deviation: float = math.nan, *, signed: bool = False) -> str:
    """A value as tables show it: shares in per cent with one decimal, times with three digits, a dash for nan."""
    if math.isnan(value):
        return _MISSING
    sign = "+" if signed else ""
    if metric.unit == "share":
        spread = "" if math.isnan(deviation) else f" ± {100 * deviation:.1f}"
        return f"{100 * value:{sign}.1f}{spread}"
    return f"{value:{sign}.3g}"  # a time's deviation over seeds says more about the machine


def overall_table(evaluation: Evaluation, width: int) -> Group:
    """One table a setting, learners by metric: means over data sets, with the deviation over seeds.

    Args:
        evaluation: what to show.
        width: of the terminal in characters. Where it is too small for all metrics, the first of `NARROW` are shown.
    """
    tables: list[Table] = []
    metrics, widths = _fitting(evaluation, width)
    for setting in evaluation.settings:
        table = Table(title=f"{setting.label}: means over data sets", title_justify="left")
        table.add_column("Learner", no_wrap=True)
        for metric in metrics:
            table.add_column(fill(metric.label, widths[metric.key]), justify="right", min_width=widths[metric.key])
        for cells in overall_rows(evaluation, setting, metrics):
            table.add_row(*(Text(cell) for cell in cells))  # Text: a name is never markup
        tables.append(table)
    said = "± over seeds; shares in per cent" if tables else "No adaptation was evaluated."
    if tables and (left := len(evaluation.metrics) - len(metrics)):
        said += f"; {left} more columns in a wider terminal, or with --html FILE"
    return Group(*tables, Text(said, style="dim italic"))


def _fitting(evaluation: Evaluation, width: int) -> tuple[tuple[Metric, ...], dict[str, int]]:
    """The metrics whose columns fit, in the evaluation's order, at least one; and how wide each needs to be."""
    rows = [row for setting in evaluation.settings for row in overall_rows(evaluation, setting)]
    widths = {
        metric.key: max(len(text) for text in (*metric.label.split(), *(row[i] for row in rows)))
        for i, metric in enumerate(evaluation.metrics, 1)
    }
    room = width - max((len(row[0]) for row in (["Learner"], *rows)), default=0) - 4  # two borders, two blanks
    chosen: set[str] = set()
    for key in (*NARROW, *(key for key in widths if key not in NARROW)):
        if key in widths:
            room -= widths[key] + 3  # a border, two blanks
            if room < 0 and chosen:
                break
            chosen.add(key)
    return tuple(metric for metric in evaluation.metrics if metric.key in chosen), widths


def comparison_table(evaluation: Evaluation, width: int, metric: str = HEADLINE) -> Table:
    """Paired differences to the baseline on one metric: interval, and where the width allows wins and worst line."""
    table = _comparison(f"{METRIC[metric].label}: difference to {evaluation.baseline}", width)
    for setting in evaluation.settings:
        for learner, pair in pairs_of(evaluation, metric, setting):
            cells = comparison_cells(pair, METRIC[metric])
            table.add_row(setting.label, Text(learner), *(Text(cell) for cell in cells[: _compared(width)]))
    return table


def contrast_tables(evaluation: Evaluation, width: int, metric: str = HEADLINE) -> list[Table]:
    """One table a contrast: each learner under one condition against itself under another."""
    rows = contrast_rows(evaluation, metric)
    tables = []
    for label in dict.fromkeys(row[1] for row in rows):
        table = _comparison(f"{METRIC[metric].label}: {label}", width)
        for given, of, learner, *cells in rows:
            if of == label:
                table.add_row(given, Text(learner), *(Text(cell) for cell in cells[: _compared(width)]))
        tables.append(table)
    return tables


def _compared(width: int) -> int:
    """How many of `COMPARED` fit a terminal beside what is given and the learner."""
    return len(COMPARED) if width >= WIDE else 2


def _comparison(title: str, width: int) -> Table:
    more = "" if width >= WIDE else "; wins and worst lines in a wider terminal"
    caption = f"95 % bootstrap interval over data sets; positive is better{more}"
    table = Table(title=title, caption=caption, title_justify="left")
    table.add_column("Given", style="dim")
    table.add_column("Learner", no_wrap=True)
    for name in COMPARED[: _compared(width)]:
        table.add_column(name, justify="left" if name == "Worst line" else "right", no_wrap=name != "Worst line")
    return table


def forgetting_table(evaluation: Evaluation, metric: str = HEADLINE) -> Table:
    """What each learner's trunk forgot of the lines it was measured on at several stages."""
    table = Table(
        title=f"{METRIC[metric].label}: forgetting",
        caption="best of the earlier stages minus the last; less is better",
        title_justify="left",
    )
    table.add_column("Given", style="dim")
    table.add_column("Learner", no_wrap=True)
    for name in FORGOTTEN:
        table.add_column(name, justify="right")
    for cells in forgetting_rows(evaluation, metric):
        table.add_row(*(Text(cell) for cell in cells))
    return table


def markdown(evaluation: Evaluation, metrics: Sequence[str] | None = None) -> str:
    """The same tables, and each line's means on the headline metric, as Markdown.

    Args:
        evaluation: what to show.
        metrics: keys for the overall table; None: all that the rows have.
    """
    chosen = tuple(METRIC[key] for key in metrics) if metrics is not None else evaluation.metrics
    parts: list[str] = []
    for setting in evaluation.settings:
        parts.append(f"### {setting.label}")
        head = ["Learner", *(metric.label for metric in chosen)]
        parts.append(_markdown_table(head, overall_rows(evaluation, setting, chosen)))
        comparison = [
            [learner, *comparison_cells(pair, METRIC[HEADLINE])]
            for learner, pair in pairs_of(evaluation, HEADLINE, setting)
        ]
        if comparison:
            parts.append(f"{METRIC[HEADLINE].label}, difference to {evaluation.baseline} (positive is better):")
            head = ["Learner", *COMPARED]
            parts.append(_markdown_table(head, comparison))
        head = [f"{METRIC[HEADLINE].label} by line", *evaluation.learners]
        parts.append(_markdown_table(head, line_rows(evaluation, METRIC[HEADLINE], setting)))
    if contrasted := contrast_rows(evaluation, HEADLINE):
        parts.append(f"### {METRIC[HEADLINE].label}: the same learner under two conditions")
        parts.append(_markdown_table(["Given", "Contrast", "Learner", *COMPARED], contrasted))
    if forgotten := forgetting_rows(evaluation, HEADLINE):
        parts.append(f"### {METRIC[HEADLINE].label}: forgetting (best of the earlier stages minus the last)")
        parts.append(_markdown_table(["Given", "Learner", *FORGOTTEN], forgotten))
    parts.append(
        "Shares in per cent. Means are over seeds, then lines of a data set, then data sets; ± is the standard "
        "deviation over seeds. A star marks lines where fewer seeds were defined than tried."
    )
    return "\n\n".join(parts) + "\n"


def overall_rows(evaluation: Evaluation, setting: Setting, metrics: Sequence[Metric] | None = None) -> list[list[str]]:
    """A learner and its cells, for every learner that was tried in the setting; says so where it lacks lines."""
    tried = {row.learner for row in evaluation.rows if row.setting == setting}
    rows = []
    for learner in evaluation.learners:
        if learner not in tried:
            continue
        cells = [learner]
        for metric in metrics if metrics is not None else evaluation.metrics:
            figures = evaluation.overall(metric.key, learner, setting)
            most = max(evaluation.overall(metric.key, other, setting).lines for other in evaluation.learners)
            partly = f" ({figures.lines} of {most} lines)" if 0 < figures.lines < most else ""
            cells.append(show(figures.mean, metric, figures.deviation) + partly)
        rows.append(cells)
    return rows


def line_rows(evaluation: Evaluation, metric: Metric, setting: Setting) -> list[list[str]]:
    """A line and each learner's mean over seeds on it; a star where fewer seeds were defined than tried."""
    rows = []
    for line in evaluation.lines:
        cells = [line]
        for learner in evaluation.learners:
            spread = evaluation.line(metric.key, learner, setting, line)
            incomplete = 0 < spread.seeds < evaluation.attempts(learner, setting, line)
            cells.append(show(spread.mean, metric, spread.deviation) + (" *" if incomplete else ""))
        rows.append(cells)
    return rows


def pairs_of(evaluation: Evaluation, metric: str, setting: Setting) -> list[tuple[str, Paired]]:
    """Every other learner that shares a line and seed with the baseline, and how it compares."""
    others = [learner for learner in evaluation.learners if learner != evaluation.baseline]
    pairs = [(learner, evaluation.paired(metric, learner, setting)) for learner in others]
    return [(learner, pair) for learner, pair in pairs if pair.by_line]


def contrast_rows(evaluation: Evaluation, metric: str) -> list[list[str]]:
    """What is given, the contrast, the learner, and the cells of `comparison_cells`."""
    return [
        [contrast.given, contrast.label, learner, *comparison_cells(pair, METRIC[metric])]
        for contrast, learner, pair in contrast_pairs(evaluation, metric)
    ]


def forgetting_rows(evaluation: Evaluation, metric: str) -> list[list[str]]:
    """What is given, the learner, and the cells of `FORGOTTEN`."""
    rows = []
    for setting in evaluation.settings:
        for learner in evaluation.learners:
            if (figures := forgetting(evaluation, metric, learner, setting)) is not None:
                first, last = (show(value, METRIC[metric]) for value in (figures.at_arrival, figures.last))
                forgotten = show(figures.forgotten, METRIC[metric], signed=True)
                rows.append([setting.label, learner, first, last, forgotten, str(figures.lines)])
    return rows


def comparison_cells(pair: Paired, metric: Metric) -> list[str]:
    """Difference, interval, lines won / tied / lost, worst line."""
    low, high = (show(end, metric, signed=True) for end in (pair.interval.low, pair.interval.high))
    interval = _MISSING if math.isnan(pair.interval.low) else f"{low} to {high}"
    unpaired = f" ({pair.unpaired} unpaired)" if pair.unpaired else ""
    return [
        show(pair.interval.mean, metric, signed=True),
        interval,
        f"{pair.wins} / {pair.ties} / {pair.losses}{unpaired}",
        f"{pair.worst_line} {show(pair.worst, metric, signed=True)}",
    ]


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    aligned = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in (head, aligned, *rows))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
