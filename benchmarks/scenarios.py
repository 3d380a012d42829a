"""Tables of the domain-shift and the incremental scenario from the rows of `linewise evaluate --csv`.

    python -m benchmarks.scenarios benchmarks/domain_shift.csv benchmarks/incremental.csv benchmarks/scenarios.md

Means are taken over lines and then over data sets; gains with a 95 % bootstrap interval over data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.evaluations import read_evaluation
from benchmarks.study import options, replace_figures
from benchmarks.tables import METRICS, percent, table
from flows.evaluate.figures.contrasts import contrast_pairs, forgetting
from flows.evaluate.figures.evaluation_rows import Setting
from flows.evaluate.figures.summary import Evaluation
from flows.evaluate.scenarios.conditions import AS_TAKEN, HeadOrigin

RATES = ("false_reject_rate", "missed_defect_rate")


def shift_table(evaluation: Evaluation, metrics: Sequence[str], said: str) -> list[str]:
    """Each learner's figures as taken, and under each shift with the head of before, without one, and adapted anew."""
    shifts = list(dict.fromkeys(s.condition for s in evaluation.settings if s.condition != AS_TAKEN))
    rows = []
    before = next(s for s in evaluation.settings if s.condition == AS_TAKEN)
    for learner in evaluation.learners:
        for adaptation in (HeadOrigin.UNADAPTED, HeadOrigin.STALE, HeadOrigin.RE_ADAPTED):
            under = [before._replace(condition=shift, adaptation=adaptation) for shift in shifts]
            cells = [_figures(evaluation, learner, setting, metrics) for setting in under]
            if any(cell.strip("- /") for cell in cells):
                taken = _figures(evaluation, learner, before, metrics) if adaptation == HeadOrigin.STALE else ""
                rows.append([learner, adaptation, taken, *cells])
    return table([said, "head", AS_TAKEN, *shifts], rows)


def contrast_table(evaluation: Evaluation, label: str) -> list[str]:
    """One contrast in points of image AUROC, a learner a row, a condition a column."""
    pairs = [entry for entry in contrast_pairs(evaluation, METRICS[0]) if entry[0].label == label]
    conditions = list(dict.fromkeys(contrast.setting.condition for contrast, _, _ in pairs))
    rows = []
    for learner in evaluation.learners:
        of_learner = {contrast.setting.condition: pair for contrast, name, pair in pairs if name == learner}
        if of_learner:
            gains = [of_learner[condition].interval for condition in conditions]
            rows.append([learner, *(f"{100 * g.mean:+.1f} [{100 * g.low:.1f}, {100 * g.high:.1f}]" for g in gains)])
    return table([label, *conditions], rows)


def forgetting_table(evaluation: Evaluation) -> list[str]:
    """What each learner's trunk forgot of the lines that came before the last, by how it was updated."""
    rows = []
    for learner in evaluation.learners:
        for setting in evaluation.settings:
            figures = [forgetting(evaluation, metric, learner, setting) for metric in METRICS]
            first, last = ([f.at_arrival for f in figures if f], [f.last for f in figures if f])
            lost = [100 * f.forgotten for f in (figures[0], figures[2]) if f]
            if first:
                cells = (percent(first), percent(last), " / ".join(f"{value:+.1f}" for value in lost))
                rows.append([learner, setting.condition, *cells])
    columns = ("learner", "trained on after an arrival", "at arrival", "last stage", "forgotten, image AUROC / AUPRO")
    return table(columns, rows)


def _figures(evaluation: Evaluation, learner: str, setting: Setting, metrics: Sequence[str]) -> str:
    return percent([evaluation.overall(metric, learner, setting).mean for metric in metrics])


def main() -> None:
    """Make the page of the two files."""
    parser = options(__doc__, lines=False, page=False)
    parser.add_argument("shifts", type=Path)
    parser.add_argument("arrivals", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    shifts, arrivals = read_evaluation(arguments.shifts), read_evaluation(arguments.arrivals)
    labels = dict.fromkeys(contrast.label for contrast, _, _ in contrast_pairs(shifts, METRICS[0]))
    tables = [
        shift_table(shifts, METRICS, "image AUROC / pixel AUROC / AUPRO"),
        *(contrast_table(shifts, label) for label in labels),
        shift_table(shifts, RATES, "false rejects / missed defects"),
        forgetting_table(arrivals),
        contrast_table(arrivals, "replay - newest line alone"),
    ]
    replace_figures(arguments.page, "\n\n".join("\n".join(table) for table in tables))


if __name__ == "__main__":
    main()
