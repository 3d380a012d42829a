"""What unlabelled images are worth: tables from the rows of `linewise evaluate --unlabelled ... --csv`.

    python -m benchmarks.take_up rows.csv

Means are taken over draws, then lines, then data sets, so that relatives count once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.evaluations import read_evaluation
from benchmarks.study import options
from benchmarks.tables import percent, table
from flows.evaluate.figures.evaluation_rows import Setting
from flows.evaluate.figures.summary import Evaluation

_SHOWN = {
    "image_auroc": "image AUROC",
    "aupro": "AUPRO",
    "false_reject_rate": "false rejects",
    "missed_defect_rate": "missed defects",
}


def by_data_set(evaluation: Evaluation, metric: str, learner: str, setting: Setting) -> dict[str, float]:
    """Each data set's mean of its lines' means over draws; data sets without that metric are left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in evaluation.lines:
        value = evaluation.line(metric, learner, setting, line).mean
        if not math.isnan(value):
            found[evaluation.data_sets[line]].append(value)
    return {data_set: float(np.mean(values)) for data_set, values in found.items()}


def means_table(evaluation: Evaluation) -> list[str]:
    """A learner and its images a row, means over data sets, and the data set that rejects most good parts."""
    rows = []
    for learner in evaluation.learners:
        for setting in evaluation.settings:
            figures = {metric: by_data_set(evaluation, metric, learner, setting) for metric in _SHOWN}
            rejects = figures["false_reject_rate"]
            worst = max(rejects, key=rejects.__getitem__)
            means = [percent([float(np.mean(list(values.values())))]) for values in figures.values()]
            rows.append([learner, setting.label, *means, f"{worst} {100 * rejects[worst]:.1f}"])
    return table(["learner", "images", *_SHOWN.values(), "most false rejects"], rows)


def gains_table(evaluation: Evaluation) -> list[str]:
    """What unlabelled images change, with a 95 % bootstrap interval over data sets."""
    rows = []
    for learner in evaluation.learners:
        for setting in evaluation.settings:
            if not setting.unlabelled:
                continue
            without = setting._replace(unlabelled=0)
            cells = []
            for metric in _SHOWN:
                found = evaluation.paired(metric, learner, setting, against=(learner, without)).interval
                cells.append(f"{100 * found.mean:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]")
            rows.append([learner, setting.label, *cells])
    return table(["learner", "images, against the same without unlabelled ones", *_SHOWN.values()], rows)


def line_table(evaluation: Evaluation, learner: str) -> list[str]:
    """A line a row: AUROC / AUPRO / false rejects / missed defects of each number of images."""
    rows = [
        [
            line,
            *(
                percent(evaluation.line(m, learner, setting, line).mean for m in _SHOWN)
                for setting in evaluation.settings
            ),
        ]
        for line in sorted(evaluation.lines)
    ]
    return table([learner, *(setting.label for setting in evaluation.settings)], rows)


def figures(evaluation: Evaluation) -> str:
    """All tables of an evaluation."""
    parts = [means_table(evaluation), gains_table(evaluation)]
    parts += [line_table(evaluation, learner) for learner in evaluation.learners]
    return "\n\n".join("\n".join(part) for part in parts)


def main() -> None:
    """Print the tables."""
    parser = options(__doc__, lines=False, page=False)
    parser.add_argument("csv", type=Path)
    print(figures(read_evaluation(parser.parse_args().csv)))


if __name__ == "__main__":
    main()
