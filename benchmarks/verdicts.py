"""What a person's answers are worth: a line's production, questions chosen in three ways, the line adapted anew.

    python -m benchmarks.verdicts LINES [--lines NAME,...] [--draws 3] [--known 4] [--answers 5,20,50] [--rest-at 0]

A line begins with 4 good images and `--known` defective ones. Then come its other training images, a tenth of them
defective, and a person answers some questions: is this part good? The answers join the support as `adapt --verdicts`
has them, defective ones without a mask, and after `--rest-at` so many answers also the images that nobody was asked
about as unlabelled ones. What is measured is measured on test images that are in neither. At one input size, 256;
`--write` puts the figures into the page beside this script.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.draws import Extraction, cached
from benchmarks.study import Study, options
from benchmarks.tables import mean, percent, table
from flows.taken_up import take_up_into
from flows.views import AdaptedLine, view_of
from model_zoo.learner_table import make_learner
from pipeline.episode_draws import sample_images
from pipeline.episodes import TensorLevels
from pipeline.evaluation import score_levels
from pipeline.head_calibration import calibrate_head
from pipeline.learner import AnomalyHead
from pipeline.metrics import false_reject_rate, image_auroc, missed_defect_rate, paired_bootstrap
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.support import build_query

GOOD, DEFECTS, SHARE, QUERY, RATE = 4, 4, 0.1, 60, 0.01
FIGURES = ("image AUROC", "false rejects", "missed defects")
Scores = NDArray[np.float64]


class Cell(NamedTuple):
    """Defective images at first, answers, what chose the questions, and whether the rest counts as unlabelled."""

    known: int
    answers: int
    rule: str
    rest: bool = False


class Adapted(NamedTuple):
    """A line's head, and its threshold."""

    head: AnomalyHead
    limit: float

    def scores(self, levels: TensorLevels) -> Scores:
        """Of images whose features these are."""
        return score_levels(self.head, levels).image_score.double().numpy()


def at_random(scores: Scores, _limit: float, rng: np.random.Generator) -> Sequence[int]:
    """In any order."""
    return rng.permutation(len(scores)).tolist()


def borderline(scores: Scores, limit: float, _rng: np.random.Generator) -> Sequence[int]:
    """The nearest to the threshold first."""
    return np.argsort(np.abs(scores - limit), kind="stable").tolist()


def chosen(scores: Scores, limit: float, rng: np.random.Generator) -> Sequence[int]:
    """In turn the highest score, the nearest to the threshold, and any: defects, doubts, what good parts are like."""
    highest = np.argsort(-scores, kind="stable").tolist()
    orders = highest, borderline(scores, limit, rng), at_random(scores, limit, rng)
    return list(dict.fromkeys(index for turn in zip(*orders, strict=True) for index in turn))


RULES: dict[str, Callable[[Scores, float, np.random.Generator], Sequence[int]]] = {
    "at random": at_random,
    "borderline": borderline,
    "chosen": chosen,
}
"""What is asked first, of the images that nobody was asked about: from their scores and the threshold."""


class Shift:
    """A draw of a line: what is known of it at first, what it makes then, and a query to judge by."""

    def __init__(self, line: ProductLine, seen: Extraction, known: int, seed: int) -> None:
        drawn = sample_images(
            line,
            good=GOOD,
            defects=DEFECTS,
            query=QUERY,
            seed=seed,
            spare_good=False,
            unlabelled=round((len(line.train_good) - GOOD) / (1 - SHARE)),
            contamination=SHARE,
        )
        self._good, self._defects = drawn.good, drawn.defects[:known]
        order = np.random.default_rng(seed).permutation(len(drawn.unlabelled)).tolist()
        self.stream = tuple(drawn.unlabelled[index] for index in order)
        self._through, self._seed = seen, seed
        self._learner = make_learner("auto", seen.backbone.spec, seed=seed)
        self._labels = np.array([record.is_defect for record in drawn.query])
        self._of_stream, self._of_query = (self._features(records) for records in (self.stream, drawn.query))
        self._adapted: dict[frozenset[int], Adapted] = {}
        self._figures: dict[tuple[frozenset[int], bool], list[float]] = {}

    def _features(self, records: Sequence[ImageRecord]) -> TensorLevels:
        return build_query(records, self._through.features, self._through.backbone.preprocess()).levels

    def _adapt(self, answered: frozenset[int], *, rest: bool) -> Adapted:
        """To what is known and those images of the stream, with the rest of it as unlabelled or not."""
        told = [replace(self.stream[index], mask_path=None) for index in sorted(answered)]
        good = [*self._good, *(record for record in told if not record.is_defect)]
        defects = [*self._defects, *(record for record in told if record.is_defect)]
        through, seed = self._through, self._seed
        view = view_of(through.backbone, good, defects, features=through.features, seed=seed)
        adapted = AdaptedLine(view, self._learner, self._learner.choose(view.support, seed=seed).head, ())
        others = [record for index, record in enumerate(self.stream) if index not in answered]
        if rest and others:
            adapted, _ = take_up_into(adapted, others, features=through.features, seed=seed)
        limit = calibrate_head(adapted.head, adapted.view.support, RATE, None, adapted.alone).threshold.reject
        return Adapted(adapted.head, limit)

    def _adapted_to(self, answered: frozenset[int]) -> Adapted:
        if answered not in self._adapted:
            self._adapted[answered] = self._adapt(answered, rest=False)
        return self._adapted[answered]

    def figures(self, answered: frozenset[int], *, rest: bool = False) -> list[float]:
        """Of the query, as `FIGURES`; once for each choice of images, whichever rule made it."""
        if (answered, rest) not in self._figures:
            adapted = self._adapt(answered, rest=True) if rest else self._adapted_to(answered)
            scores = adapted.scores(self._of_query)
            rates = (rate(scores, self._labels, adapted.limit) for rate in (false_reject_rate, missed_defect_rate))
            self._figures[answered, rest] = [image_auroc(scores, self._labels), *rates]
        return self._figures[answered, rest]

    def questions(self, rule: str, numbers: Iterable[int]) -> Iterable[frozenset[int]]:
        """Whom a person was asked about, for ascending numbers of answers: the line is adapted anew in between."""
        asked, rng = list[int](), np.random.default_rng(self._seed)
        for number in numbers:
            if number > len(asked):
                now = self._adapted_to(frozenset(asked))
                left = [index for index in range(len(self.stream)) if index not in asked]
                order = RULES[rule](now.scores(tuple(level[left] for level in self._of_stream)), now.limit, rng)
                asked += [left[index] for index in order[: number - len(asked)]]
            yield frozenset(asked)

    def found(self, answered: frozenset[int]) -> float:
        """The share of the stream's defects that a person was asked about, 0..1."""
        defects = [index for index, record in enumerate(self.stream) if record.is_defect]
        return len(answered.intersection(defects)) / len(defects)


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    parser = options(__doc__, draws=3)
    parser.add_argument("--known", default="4", help="defective images that a line begins with, at most 4")
    parser.add_argument("--answers", default="5,20,50", help="numbers of questions, ascending")
    parser.add_argument("--rest-at", default="0", help="of them those after which the rest counts as unlabelled, too")
    study = Study(__file__, parser)
    asked = study.asked.known, study.asked.answers, study.asked.rest_at
    defects, answers, rest_at = ([int(number) for number in numbers.split(",")] for numbers in asked)
    seen = cached(study.settings)
    means: dict[str, dict[Cell, list[float]]] = {}
    for line in study.lines:
        found: dict[Cell, list[list[float]]] = defaultdict(list)
        for seed in study.draws:
            for known in defects:
                for cell, figures in play(Shift(line, seen, known, seed), known, [0, *answers], rest_at).items():
                    found[cell].append(figures)
        means[line.name] = {cell: mean(figures) for cell, figures in found.items()}
        told = {f"{c.known} {c.answers} {c.rule}{' rest' * c.rest}": percent(m) for c, m in means[line.name].items()}
        print(line.name, told, flush=True)
    by_data_set = over_data_sets(means, {line.name: line.data_set for line in study.lines})
    study.publish(means_table(by_data_set), gains_table(by_data_set))


def play(shift: Shift, known: int, numbers: Sequence[int], rest_at: Sequence[int]) -> dict[Cell, list[float]]:
    """`FIGURES` of one draw after each number of answers, and the share of the stream's defects asked about."""
    figures: dict[Cell, list[float]] = {}
    for rule in RULES:
        for number, answered in zip(numbers, shift.questions(rule, numbers), strict=True):
            for rest in (False, True) if number in rest_at else (False,):
                cell = Cell(known, number, rule, rest)
                figures[cell] = [*shift.figures(answered, rest=rest), shift.found(answered)]
    return figures


Means = Mapping[str, Mapping[Cell, Sequence[float]]]


def over_data_sets(means: Means, data_sets: Mapping[str, str]) -> dict[str, dict[Cell, list[float]]]:
    """Means over the lines of each data set."""
    cells = list(next(iter(means.values())))
    return {
        name: {cell: mean(means[line][cell] for line in means if data_sets[line] == name) for cell in cells}
        for name in sorted(set(data_sets.values()))
    }


def means_table(means: Means) -> list[str]:
    """A number of answers a row, means over data sets."""
    rows = []
    for cell in next(iter(means.values())):
        if cell.answers or cell.rule == next(iter(RULES)):
            *figures, found = mean(of_set[cell] for of_set in means.values())
            begin = f"{GOOD} good, {cell.known} defective"
            rule = cell.rule if cell.answers else ""
            told = [f"{cell.answers}", rule, "yes" if cell.rest else "", f"{100 * found:.0f}"]
            rows.append([begin, *told, *(percent([figure]) for figure in figures)])
    columns = ("known at first", "answers", "questions", "the rest unlabelled", "its defects asked about, %", *FIGURES)
    return table(columns, rows)


def gains_table(means: Means) -> list[str]:
    """What choosing the questions changes against asking at random, with a 95 % bootstrap interval over data sets."""
    rows, (random, *others) = [], RULES
    for cell in next(iter(means.values())):
        if cell.answers and cell.rule in others:
            pairs = [(of_set[cell], of_set[cell._replace(rule=random)]) for of_set in means.values()]
            cells = []
            for figure in range(len(FIGURES)):
                found = paired_bootstrap([one[figure] - other[figure] for one, other in pairs], 0)
                cells.append(f"{100 * found.mean:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]")
            begin, rest = f"{GOOD} good, {cell.known} defective", "yes" if cell.rest else ""
            rows.append([begin, f"{cell.answers}", cell.rule, rest, *cells])
    columns = ("known at first", "answers", f"questions, against {random}", "the rest unlabelled", *FIGURES)
    return table(columns, rows)


if __name__ == "__main__":
    main()
