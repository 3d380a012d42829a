"""Tables from the rows of `linewise evaluate --csv`: learners line by line, and their gain over the memory bank, or
over another learner.

    python -m benchmarks.gains benchmarks/auto.csv benchmarks/auto.md [--plot benchmarks/auto.svg] [--over auto]

Means are taken over draws; gains over data sets, so that relatives count once, with a 95 % bootstrap interval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.evaluations import read_evaluation
from benchmarks.study import options, replace_figures
from benchmarks.tables import METRICS, mean, percent, table
from flows.evaluate.figures.evaluation_rows import Setting
from flows.evaluate.figures.summary import BASELINE, Evaluation, Paired

LABELS = dict(zip(METRICS, ("image AUROC", "pixel AUROC", "AUPRO"), strict=True))
TIE = 1e-9
POOLED = "in_context"  # what the other meta-learners start from
COSTS = ("false_reject_rate", "missed_defect_rate", "meta_train_seconds", "adapt_seconds", "score_ms")


class Cell(NamedTuple):
    """A learner, and how many images it was given."""

    learner: str
    setting: Setting

    @property
    def label(self) -> str:
        """In words."""
        return f"{self.learner}, {defects_label(self.setting)}"


def defects_label(setting: Setting) -> str:
    """How many defects it gives, in words."""
    return f"{setting.defects or 'no'} defect{'' if setting.defects == 1 else 's'}"


def line_figures(evaluation: Evaluation, cell: Cell, line: str, metrics: Sequence[str] = METRICS) -> list[float]:
    """A line's means over draws; nan where undefined."""
    return [evaluation.line(metric, *cell, line).mean for metric in metrics]


def mean_figures(evaluation: Evaluation, cell: Cell, metrics: Sequence[str] = METRICS) -> list[float]:
    """The means of all lines' figures."""
    return mean(line_figures(evaluation, cell, line, metrics) for line in evaluation.lines)


def line_table(evaluation: Evaluation, shown: Sequence[Cell]) -> list[str]:
    """A line a row, a learner a column, and the mean of the lines."""
    lines = sorted(evaluation.lines)
    rows = [[line, *(percent(line_figures(evaluation, cell, line)) for cell in shown)] for line in lines]
    means = [f"**{percent(mean_figures(evaluation, cell))}**" for cell in shown]
    return table(["line", *(cell.label for cell in shown)], [*rows, ["**mean of the lines**", *means]])


def means_table(evaluation: Evaluation) -> list[str]:
    """Means over the lines, a learner a row, the highest image AUROC with the most defects first."""
    settings = evaluation.settings
    means = {
        learner: [mean_figures(evaluation, Cell(learner, setting)) for setting in settings]
        for learner in evaluation.learners
    }
    best_first = sorted(means.items(), key=lambda entry: -entry[1][-1][0])
    columns = ["mean of the lines", *map(defects_label, settings)]
    return table(columns, [[learner, *map(percent, figures)] for learner, figures in best_first])


def gain(evaluation: Evaluation, cell: Cell, metric: str, reference: str = BASELINE) -> Paired:
    """A learner's gain over the reference with as many defects, as a share."""
    return evaluation.paired(metric, *cell, against=(reference, cell.setting))


def gain_table(evaluation: Evaluation, shown: Sequence[Cell], reference: str = BASELINE) -> list[str]:
    """Gains over the reference, the largest of image AUROC first, and each learner's worst line."""
    gains = {cell: [gain(evaluation, cell, metric, reference) for metric in METRICS] for cell in shown}
    rows = []
    for cell, (images, *others) in sorted(gains.items(), key=lambda entry: -entry[1][0].interval.mean):
        found = [pair.interval for pair in (images, *others)]
        texts = [f"{100 * g.mean:+.1f} [{100 * g.low:.1f}, {100 * g.high:.1f}]" for g in found]
        won = f"{data_sets_won(evaluation, images)} of {images.data_sets}"
        rows.append([cell.label, *texts, won, f"{images.worst_line} {100 * images.worst:+.1f}"])
    return table([f"over {reference}", *LABELS.values(), "data sets won", "worst line, image AUROC"], rows)


def data_sets_won(evaluation: Evaluation, pair: Paired) -> int:
    """In how many data sets the mean of the lines' gains is above zero."""
    gains: dict[str, list[float]] = defaultdict(list)
    for line, of_line in pair.by_line.items():
        gains[evaluation.data_sets[line]].append(of_line)
    return sum(float(np.mean(of_data_set)) > TIE for of_data_set in gains.values())


def cost_table(evaluation: Evaluation, learners: Sequence[str]) -> list[str]:
    """Thresholds and seconds: means over the lines; seconds with the most defects."""
    rows = []
    for learner in learners:
        means = [mean_figures(evaluation, Cell(learner, setting), COSTS) for setting in evaluation.settings]
        rejects = " / ".join(f"{100 * each[0]:.1f}" for each in means)
        missed = " / ".join(f"{100 * each[1]:.0f}" for each in means)
        *_, trained, adapted, milliseconds = means[-1]
        training = "-" if math.isnan(trained) else f"{trained:.0f}"
        rows.append([learner, rejects, missed, training, f"{adapted:.2f}", f"{milliseconds:.0f}"])
    given = " / ".join(f"{setting.defects}" for setting in evaluation.settings)
    told = ("false rejects, %", "missed defects, %", "meta-training, s", "adaptation, s", "scored image, ms")
    return table([f"with {given} defects", *told], rows)


def figures(evaluation: Evaluation, reference: str = BASELINE) -> str:
    """All tables of an evaluation."""
    settings, others = evaluation.settings, sorted({*evaluation.learners} - {reference})
    if len(others) == 1:
        with_defects = settings if reference != BASELINE else settings[:1]  # which makes nothing of them
        columns = [Cell(reference, setting) for setting in with_defects]
        parts = [line_table(evaluation, [*columns, *(Cell(others[0], setting) for setting in settings)])]
    else:
        parts = [means_table(evaluation)]
    parts += [gain_table(evaluation, [Cell(name, setting) for name in others], reference) for setting in settings]
    if POOLED in others and len(others) > 1:
        shown = [name for name in others if name != POOLED]
        parts += [gain_table(evaluation, [Cell(name, setting) for name in shown], POOLED) for setting in settings]
    parts.append(cost_table(evaluation, [reference, *others]))
    return "\n\n".join("\n".join(part) for part in parts)


def draw(evaluation: Evaluation, target: Path) -> None:
    """A plot of every learner's gains over the memory bank with their intervals, one panel a metric."""
    settings = evaluation.settings
    names = [name for name in evaluation.learners if name != BASELINE]
    shown = sorted(names, key=lambda name: gain(evaluation, Cell(name, settings[-1]), METRICS[0]).interval.mean)
    figure, panels = plt.subplots(1, len(LABELS), sharey=True, figsize=(12, 1 + 0.42 * len(shown)))
    for panel, (metric, title) in zip(panels, LABELS.items(), strict=True):
        panel.axvline(0, color="0.6", linewidth=1)
        for place, setting in enumerate(settings):
            found = [gain(evaluation, Cell(name, setting), metric).interval for name in shown]
            heights = [row + 0.22 * (place - (len(settings) - 1) / 2) for row in range(len(shown))]
            around = [[100 * (f.mean - f.low) for f in found], [100 * (f.high - f.mean) for f in found]]
            panel.errorbar(
                [100 * f.mean for f in found],
                heights,
                xerr=around,
                fmt="o",
                markersize=3,
                linewidth=1,
                label=defects_label(setting),
            )
        panel.set_title(title)
        panel.set_xlabel("points over the memory bank")
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(shown)), shown)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=len(settings), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Make the page, or print what would stand there."""
    parser = options(__doc__, lines=False, page=False)
    parser.add_argument("csv", type=Path)
    parser.add_argument("page", type=Path, nargs="?", help="written between its markers; without it printed")
    parser.add_argument("--over", default=BASELINE, help=f"the learner that gains are counted from ({BASELINE})")
    parser.add_argument("--plot", type=Path, help="an SVG of the gains over the memory bank")
    asked = parser.parse_args()
    evaluation = read_evaluation(asked.csv)
    if asked.page:
        replace_figures(asked.page, figures(evaluation, asked.over))
    else:
        print(figures(evaluation, asked.over))
    if asked.plot:
        draw(evaluation, asked.plot)


if __name__ == "__main__":
    main()
