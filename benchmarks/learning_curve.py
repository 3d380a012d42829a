"""How a line gets better with the images it has: good ones, defective ones, unlabelled ones.

    python -m benchmarks.learning_curve LINES [--lines NAME,...] [--draws 3] [--tables-only] [--write]

Scores are kept in `benchmarks/out/learning_curve.jsonl`: started again, it goes on; several processes may share the
file, each with its own `--lines`. With all of it there, `--tables-only --write` makes page and plot of it. PatchCore's
rows are anomalib's, see `benchmarks/learning_curve.md`.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kept_scores import MOST_TESTED, Cell, KeptScores, Setting, score_cells
from benchmarks.plots import svg_pyplot
from benchmarks.study import Study, options
from benchmarks.tables import mean, percent, table
from pipeline.metrics import paired_bootstrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOOD = (1, 2, 4, 8, 16, 32, 60)
DEFECTS = (0, 4)
UNLABELLED = (0, 10, 30, 60)
BESIDE = 4
"""Good images beside the unlabelled ones."""
LEARNERS = ("auto", "memory_bank")
PATCHCORE = "PatchCore"
SHOWN = ("image AUROC", "AUPRO", "false rejects", "missed defects")


ByDataSet = dict[str, list[float]]
"""Per data set the figures of `SHOWN`, each the mean of its lines' means over draws."""


def main() -> None:
    """Score what is missing, then print the page."""
    parser = options(__doc__, draws=3)
    parser.add_argument("--tables-only", action="store_true", help="score nothing: tables of what is kept")
    study = Study(__file__, parser)
    kept = KeptScores(study.page.parent / "out" / "learning_curve.jsonl")
    if not study.asked.tables_only:
        names = [line.name for line in study.lines]
        for cells in (good_sweep(names, study.draws), unlabelled_sweep(names, study.draws)):
            score_cells(study.lines, cells, kept, study.settings, most_tested=MOST_TESTED)
    figures = figures_of(kept)
    figures.update(read_peer(study.page.with_name("learning_curve_patchcore.csv")))
    study.publish(*_tables(figures))
    if study.asked.write:
        plot(figures, study.page.with_suffix(".svg"))


def good_sweep(lines: Iterable[str], seeds: Iterable[int]) -> list[Cell]:
    """Every number of good images, without and with defects; few of each line first."""
    return [
        Cell(learner, line, good, defects, 0, seed)
        for line in lines
        for seed in seeds
        for learner in LEARNERS
        for good in GOOD
        for defects in DEFECTS
    ]


def unlabelled_sweep(lines: Iterable[str], seeds: Iterable[int]) -> list[Cell]:
    """Every number of unlabelled images but none beside four good ones; none is in the other sweep."""
    return [
        Cell(learner, line, BESIDE, defects, unlabelled, seed)
        for line in lines
        for seed in seeds
        for learner in LEARNERS
        for defects in DEFECTS
        for unlabelled in UNLABELLED
        if unlabelled
    ]


def figures_of(kept: KeptScores) -> dict[Setting, ByDataSet]:
    """The figures of all cells that are kept; thresholds as adaptation sets them today."""
    draws: dict[Setting, dict[tuple[str, str], list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for cell in kept:
        scores = kept[cell]
        threshold = scores.threshold()
        found = [scores.image_auroc, scores.aupro, *scores.rates(threshold.reject)]
        draws[cell.setting][scores.data_set, cell.line].append(found)
    return {setting: _by_data_set(lines) for setting, lines in draws.items()}


def read_peer(path: Path) -> dict[Setting, ByDataSet]:
    """PatchCore's figures from its rows: line, data_set, good, seed, image_auroc, aupro."""
    draws: dict[Setting, dict[tuple[str, str], list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found = [float(row["image_auroc"]), float(row["aupro"] or "nan"), float("nan"), float("nan")]
                draws[Setting(PATCHCORE, int(row["good"]), 0, 0)][row["data_set"], row["line"]].append(found)
    return {setting: _by_data_set(lines) for setting, lines in draws.items()}


def _by_data_set(lines: Mapping[tuple[str, str], list[list[float]]]) -> ByDataSet:
    found: dict[str, list[list[float]]] = defaultdict(list)
    for (data_set, _), draws in lines.items():
        found[data_set].append(mean(draws))
    return {data_set: mean(of_lines) for data_set, of_lines in found.items()}


def _tables(figures: Mapping[Setting, ByDataSet]) -> list[list[str]]:
    settings = sorted(figures)
    rows = [[s.learner, s.images, *(percent([value]) for value in mean(figures[s].values()))] for s in settings]
    pairs = [
        (Setting("auto", good, defects, 0), Setting(other, good, 0, 0))
        for good in GOOD
        for defects in DEFECTS
        for other in (PATCHCORE, "memory_bank")
    ]
    more = [
        (Setting("auto", BESIDE, defects, n), Setting("auto", BESIDE, defects, 0))
        for defects in DEFECTS
        for n in UNLABELLED
        if n
    ]
    return [
        table(["learner", "good + defective images", *(f"{name}, %" for name in SHOWN)], rows),
        table(["", "against", *SHOWN[:2], "worst data set, image AUROC"], _paired(figures, [*pairs, *more])),
        _each_data_set(figures),
    ]


def _paired(figures: Mapping[Setting, ByDataSet], pairs: Iterable[tuple[Setting, Setting]]) -> Iterable[list[str]]:
    for mine, other in pairs:
        if mine not in figures or other not in figures:
            continue
        both = sorted(figures[mine].keys() & figures[other].keys())
        differences = np.array([np.subtract(figures[mine][d], figures[other][d]) for d in both])
        cells = []
        for column in range(2):
            known = differences[:, column][~np.isnan(differences[:, column])]
            found = paired_bootstrap(known, seed=0)
            cells.append(f"{100 * found.mean:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]")
        worst = int(differences[:, 0].argmin())
        against = f"{other.learner}, {other.images}"
        yield [f"{mine.learner}, {mine.images}", against, *cells, f"{both[worst]} {100 * differences[worst, 0]:+.1f}"]


def _each_data_set(figures: Mapping[Setting, ByDataSet]) -> list[str]:
    settings = [
        setting for setting in sorted(figures) if setting.good in (4, 16, 60) and setting.learner != "memory_bank"
    ]
    names = sorted({name for setting in settings for name in figures[setting]})
    rows = [[name, *(percent(figures[s].get(name, [])) for s in settings)] for name in names]
    return table([" / ".join(SHOWN), *(f"{s.learner}, {s.images}" for s in settings)], rows)


def plot(figures: Mapping[Setting, ByDataSet], path: Path) -> None:
    """Image AUROC, false rejects and missed defects against good images, and against unlabelled ones."""
    pyplot = svg_pyplot()

    curves: dict[str, list[Setting]] = {
        "auto, 4 defects": [Setting("auto", good, 4, 0) for good in GOOD],
        "auto": [Setting("auto", good, 0, 0) for good in GOOD],
        "memory bank": [Setting("memory_bank", good, 0, 0) for good in GOOD],
        "anomalib PatchCore": [Setting(PATCHCORE, good, 0, 0) for good in GOOD],
    }
    unlabelled: dict[str, list[Setting]] = {
        "auto, 4 defects": [Setting("auto", BESIDE, 4, n) for n in UNLABELLED],
        "auto": [Setting("auto", BESIDE, 0, n) for n in UNLABELLED],
        "memory bank": [Setting("memory_bank", BESIDE, 0, n) for n in UNLABELLED],
    }
    figure, axes = pyplot.subplots(2, 3, figsize=(10, 5.6), layout="constrained")
    for row, (sweep, what) in enumerate(((curves, "good"), (unlabelled, "unlabelled"))):
        for column, index in enumerate((0, 2, 3)):
            axis = axes[row][column]
            for name, settings in sweep.items():
                _curve(axis, name, settings, figures, index, what)
            axis.set_title(f"{SHOWN[index]}, %")
            axis.set_xlabel("good images" if what == "good" else f"unlabelled images, beside {BESIDE} good")
            axis.grid(visible=True, color="0.9")
            axis.spines[["top", "right"]].set_visible(False)
            if what == "good":
                axis.set_xscale("log", base=2)
                axis.set_xticks(GOOD, [str(good) for good in GOOD])
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def _curve(
    axis: Axes, name: str, settings: Sequence[Setting], figures: Mapping[Setting, ByDataSet], index: int, what: str
) -> None:
    known = [setting for setting in settings if setting in figures]
    values = [100 * mean(figures[setting].values())[index] for setting in known]
    if known and not np.isnan(values).all():
        axis.plot([getattr(setting, what) for setting in known], values, marker="o", markersize=3, label=name)


if __name__ == "__main__":
    main()
