"""Does a threshold keep its promise: the false-reject rates stated against those that came true.

    python -m benchmarks.promises LINES [--lines NAME,...] [--draws 20] [--tables-only] [--write]

Scores are kept in `benchmarks/out/promises.jsonl` and gone on with, as in `benchmarks.learning_curve`; `--tables-only`
makes page and plot of what is there. Everything at 256 px, so that so many draws are affordable.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.kept_scores import MOST_TESTED, Cell, KeptScores, Scores, Setting, score_cells
from benchmarks.plots import svg_pyplot
from benchmarks.study import Study, options
from benchmarks.tables import percent, table
from flows.views import DEFAULT_SIZE
from pipeline.promise import COVERAGE, Promise

GOOD, DEFECTS, UNLABELLED = (1, 4, 16, 60), (0, 4), (0, 30)
ALL_GOOD = 60
"""What the real lines have for training: no more to draw from, and none left to be unlabelled."""
RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
PROMISED = 0.01


def main() -> None:
    """Score what is missing, then print the page."""
    parser = options(__doc__, draws=20)
    parser.add_argument("--tables-only", action="store_true", help="score nothing: tables of what is kept")
    study = Study(__file__, parser)
    kept = KeptScores(study.page.parent / "out" / "promises.jsonl")
    if not study.asked.tables_only:
        for seed in study.draws:
            cells = list(cells_of([line.name for line in study.lines], seed))
            # Apart: a draw of all good images leaves none to be unlabelled.
            for some in ([c for c in cells if not c.unlabelled], [c for c in cells if c.unlabelled]):
                score_cells(study.lines, some, kept, study.settings, size=DEFAULT_SIZE, most_tested=MOST_TESTED)
    by_setting: dict[Setting, list[tuple[str, Scores]]] = defaultdict(list)
    for cell in kept:
        by_setting[cell.setting].append((cell.line, kept[cell]))
    study.publish(coverage_table(by_setting), rates_table(by_setting))
    if study.asked.write:
        plot(by_setting, study.page.with_suffix(".svg"))


def cells_of(lines: Sequence[str], seed: int) -> Iterator[Cell]:
    """One draw of each line with every number of images; all of a line's good images are drawn once."""
    for line in lines:
        for good in GOOD:
            if good < ALL_GOOD or seed == 0:
                for defects in DEFECTS:
                    for unlabelled in UNLABELLED if good < ALL_GOOD else (0,):
                        yield Cell("auto", line, good, defects, unlabelled, seed)


def coverage_table(by_setting: Mapping[Setting, Sequence[tuple[str, Scores]]]) -> list[str]:
    """At the promised rate: what came true, and how often it lay in the stated interval."""
    rows, everywhere = [], []
    for setting, found in sorted(by_setting.items()):
        inside, rates, by_line = [], [], defaultdict(list)
        for line, scores in found:
            threshold = scores.threshold(PROMISED)
            promise = scores.promise(threshold)
            rejected, missed = scores.rates(threshold.reject)
            inside.append(_inside(rejected, promise, len(scores.of_good)))
            rates.append([rejected, missed, promise.lowest_rate, promise.highest_rate])
            by_line[line].append(rejected)
        everywhere += inside
        means = {line: float(np.mean(values)) for line, values in by_line.items()}
        worst = max(means, key=means.__getitem__)
        rejected, missed, low, high = np.mean(rates, 0)
        rows.append(
            [
                setting.images,
                str(len(found)),
                percent([rejected]),
                f"{percent([low])} to {percent([high])}",
                percent([float(np.mean(inside))]),
                f"{worst} {percent([means[worst]])}",
                percent([missed]),
            ]
        )
    rows.append(["all", str(len(everywhere)), "", "", percent([float(np.mean(everywhere))]), "", ""])
    columns = ("good + defective images", "adaptations", "false rejects, %", f"{COVERAGE:.0%} interval stated, mean, %")
    return table([*columns, "inside theirs, %", "the line with most, %", "missed, %"], rows)


def _inside(rejected: float, promise: Promise, judged: int) -> bool:
    """Whether as many of the judged good parts were rejected as rates in the interval would, in whole parts."""
    count = round(rejected * judged)
    return math.floor(promise.lowest_rate * judged) <= count <= math.ceil(promise.highest_rate * judged)


def rates_table(by_setting: Mapping[Setting, Sequence[tuple[str, Scores]]]) -> list[str]:
    """What came true of every stated rate: the mean, and in brackets that without the line with most."""
    rows = [
        [setting.images, *(f"{percent([mean])} ({percent([usual])})" for mean, usual in curve)]
        for setting, curve in ((setting, _curve(found)) for setting, found in sorted(by_setting.items()))
    ]
    return table(["stated, %", *(f"{100 * rate:g}" for rate in RATES)], rows)


def _curve(found: Iterable[tuple[str, Scores]]) -> list[tuple[float, float]]:
    """Per rate of `RATES` the mean over lines of the realised one, and that without the line with most."""
    by_line: dict[str, list[list[float]]] = defaultdict(list)
    for line, scores in found:
        by_line[line].append([scores.rates(scores.threshold(rate).reject)[0] for rate in RATES])
    of_lines = np.array([np.mean(draws, 0) for draws in by_line.values()])
    usual = np.sort(of_lines, 0)[:-1].mean(0)
    return list(zip(of_lines.mean(0).tolist(), usual.tolist(), strict=True))


def plot(by_setting: Mapping[Setting, Sequence[tuple[str, Scores]]], path: Path) -> None:
    """Stated against realised rates, a panel without and one with unlabelled images."""
    pyplot = svg_pyplot()

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 4), layout="constrained", sharey=True)
    stated = [100 * rate for rate in RATES]
    for axis, unlabelled in zip(axes, UNLABELLED, strict=True):
        axis.plot(stated, stated, color="0.6", linewidth=1)
        for setting, found in sorted(by_setting.items()):
            if setting.unlabelled == unlabelled:
                style = "--" if setting.defects else "-"
                realised = [100 * max(usual, 1e-3) for _, usual in _curve(found)]
                axis.plot(stated, realised, style, marker="o", markersize=3, label=setting.images)
        axis.set(xscale="log", yscale="log", xlabel="stated false rejects, %", ylim=(0.08, 100))
        axis.set_xticks(stated, [f"{value:g}" for value in stated])
        axis.set_title(f"{unlabelled} unlabelled images" if unlabelled else "labelled images alone")
        axis.grid(visible=True, color="0.9")
        axis.legend(frameon=False, fontsize=8, title="good + defective")
    axes[0].set_ylabel("realised, without the line with most, %")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
