"""What a first look at 256 px settles on lines that choose a larger input, and what that costs and saves.

python -m benchmarks.cascade LINES [--lines ...] [--draws 3] [--kept cascade.jsonl] [--write]

Each draw of a line is adapted with `auto` as `evaluate` does, from 4 good and 4 defective images and from 30 unlabelled
ones besides, and where that chooses a larger input once more at 256 px, from the same images. Scores are kept in a file
and not made again. The first look is what `pipeline.first_look` makes of the support; a stream of which 5 % are
defective weighs the query's images.

The oracle knows the query: its limit looks twice at the fewest images of all that lose at most .3 points of image AUROC
and change at most 1 % of the decisions. Costs are in images of the memory bank at 256 px: `--first-cost` of a first
look, `--own-cost` of the line's own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.kept_scores import MOST_TESTED
from benchmarks.study import Study, options
from benchmarks.tables import table
from flows.evaluate.request import EvaluateRequest
from flows.evaluate.scenarios.bench import Bench
from flows.views import DEFAULT_SIZE, adapt_to_best, view_of
from model_zoo.learner_table import make_learner
from pipeline.calibration import Threshold, calibrate
from pipeline.episodes import SupportSet
from pipeline.evaluation import score_levels
from pipeline.first_look import FirstLook, first_look_of
from pipeline.learner import AnomalyHead, AnomalyOutput
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ProductLine

GOOD, DEFECTS, UNLABELLED, DEFECTIVE = 4, 4, (0, 30), 0.05
LOST, EQUAL = 0.003, 0.99
Floats = NDArray[np.float64]


class Look(NamedTuple):
    """What one head says: of the query, of its good images and of known defects by heads that do not know them."""

    score: Floats
    alone: Floats
    known: Floats

    def threshold(self) -> Threshold:
        """As adaptation sets it; what it says of pixels means nothing, as maps are not kept."""
        maps = np.zeros((len(self.alone), 1, 1), np.float32)
        return calibrate(self.alone, maps, target_false_reject_rate=0.01, pooled=None, known_defects=self.known)


class Cascade(NamedTuple):
    """What became of a draw: shares of good and of all images looked at twice, of equal decisions, AUROC lost."""

    good: float
    twice: float
    equal: float
    lost: float


def main() -> None:
    """Adapt, score, and tell."""
    parser = options(__doc__, draws=3)
    parser.add_argument("--kept", type=Path, default=Path("cascade.jsonl"), help="file of the scores")
    parser.add_argument("--first-cost", type=float, default=1.05, help="of a first look, in memory banks")
    parser.add_argument("--own-cost", type=float, default=3.7, help="of the line's own look without a first one")
    study = Study(__file__, parser)
    rows = list(_kept(study))
    study.publish(*_tables(rows, study.asked.first_cost, study.asked.own_cost))


def _kept(study: Study) -> Iterator[dict[str, Any]]:
    """The rows of the file, with those that it lacks."""
    kept: Path = study.asked.kept
    rows = [json.loads(text) for text in kept.read_text().splitlines()] if kept.is_file() else []
    found = {(row["line"], row["seed"], row["unlabelled"]): row for row in rows}
    asked = {"good": [GOOD], "defects": [DEFECTS], "unlabelled": list(UNLABELLED), "contamination": DEFECTIVE}
    more = {"lines": Path(), "learners": ["auto"], "max_test_images": MOST_TESTED}
    bench = Bench(EvaluateRequest.model_validate(asked | more), study.settings, lambda _: None)
    for line in study.lines:
        for seed in study.draws:
            for unlabelled in UNLABELLED:
                key = line.name, seed, unlabelled
                if key not in found:
                    found[key] = _row(bench, line, seed, unlabelled)
                    with kept.open("a") as file:
                        file.write(json.dumps(found[key]) + "\n")
                yield found[key]


def _row(bench: Bench, line: ProductLine, seed: int, unlabelled: int) -> dict[str, Any]:
    drawn = bench.draw(line, seed)
    query = bench.query(drawn.query)
    support, default = bench.support(drawn, GOOD, DEFECTS, seed, unlabelled), bench.backbone()
    own = bench.adapt("auto", make_learner("auto", default.opened.spec, seed=seed), support)
    size = own.view.backbone.spec.size.side
    row = {"line": line.name, "seed": seed, "unlabelled": unlabelled, "size": size}
    row["truth"] = query.truth.labels.tolist()
    if size > DEFAULT_SIZE:
        view = view_of(default.opened, own.view.good, own.view.defects, features=default.features, seed=seed)
        learner = make_learner("auto", default.opened.spec, seed=seed)
        head = adapt_to_best(learner, [view], seed=seed).head
        row["dear"] = _look(own.output(query), own.head, own.view.support, own.alone)
        row["cheap"] = _look(score_levels(head, query.levels(default)), head, view.support)
    return row


def _look(
    output: AnomalyOutput, head: AnomalyHead, support: SupportSet, alone: AnomalyOutput | None = None
) -> dict[str, list[float]]:
    known = head.leave_one_defect_out(support)
    assert known is not None
    of_good = alone or head.leave_one_out(support)
    scores = output.image_score, of_good.image_score, known
    return {name: values.double().tolist() for name, values in zip(Look._fields, scores, strict=True)}


def _tables(rows: Sequence[dict[str, Any]], first: float, own: float) -> Iterator[list[str] | str]:
    for unlabelled in UNLABELLED:
        of_setting = [row for row in rows if row["unlabelled"] == unlabelled]
        lines = sorted({row["line"] for row in of_setting if "dear" in row})
        told, costs, oracles = list[list[str]](), list[float](), list[float]()
        for line in lines:
            found = [_judged(row) for row in of_setting if row["line"] == line and "dear" in row]
            cascades = [cascade for cascade, _ in found if cascade is not None]
            each = [own if c is None else first + c.twice * (own - _DECODED) for c, _ in found]
            costs.append(float(np.mean(each)))
            oracles.append(float(np.mean([oracle for _, oracle in found])))
            cells = _cells(cascades) if cascades else ["-"] * 4
            told.append(
                [line, f"{len(cascades)} of {len(found)}", *cells, f"{costs[-1]:.2f}", f"{100 * oracles[-1]:.1f}"]
            )
        more = f" + {unlabelled} unlabelled" if unlabelled else ""
        yield (
            f"{GOOD} + {DEFECTS}{more}: of {len(of_setting)} draws {sum('dear' in row for row in of_setting)} chose a "
            f"larger input. Mean cost of these lines {np.mean(costs):.2f}, without first looks {own:.2f}; the oracle "
            f"looks twice at {100 * np.mean(oracles):.1f} % on their mean."
        )
        yield table(
            [
                "line",
                "first look in draws",
                "good looked at twice, %",
                "all, %",
                "equal decisions, %",
                "image AUROC (worst draw)",
                "cost",
                "oracle: all, %",
            ],
            told,
        )


_DECODED = 0.1  # of an image's cost, in memory banks: both looks share it


def _cells(cascades: Sequence[Cascade]) -> list[str]:
    good, twice, equal, lost = np.mean(cascades, axis=0)
    worst = max(cascade.lost for cascade in cascades)
    shares = [f"{100 * share:.1f}" for share in (good, twice, equal)]
    return [*shares, f"{0.0 - 100 * lost:+.2f} ({0.0 - 100 * worst:+.2f})"]


def _judged(row: dict[str, Any]) -> tuple[Cascade | None, float]:
    """The draw's cascade, None: its support vouches for none; and the oracle's share of images looked at twice."""
    own, first = (Look(*(np.array(row[which][name]) for name in Look._fields)) for which in ("dear", "cheap"))
    truth, threshold = np.array(row["truth"]), own.threshold()
    flagged = threshold.p_value(threshold.review) or 0.0
    asked = {"distance": math.inf, "review": threshold.review}
    look = first_look_of(first.alone, first.known, own.alone, **asked, flagged=flagged)
    made = None if look is None else _cascade(first, own, truth, threshold, look)
    any_look = look or FirstLook(
        limit=0.0,
        doubted=0.0,
        distance=math.inf,
        middle=float(np.median(first.alone)),
        slope=float(own.alone.std() / first.alone.std()),
        second_middle=float(np.median(own.alone)),
        most=math.nextafter(threshold.review, -math.inf),
    )
    limits = (float(limit) for limit in (*np.sort(first.score), math.inf))
    tried = (_cascade(first, own, truth, threshold, replace(any_look, limit=limit)) for limit in limits)
    return made, min(c.twice for c in tried if c.lost <= LOST and c.equal >= EQUAL)


def _cascade(first: Look, own: Look, truth: NDArray[np.bool_], threshold: Threshold, look: FirstLook) -> Cascade:
    twice = np.array([not look.settles(score, None) for score in first.score])
    final = np.where(twice, own.score, [look.as_second(score) for score in first.score])
    equal = np.array([threshold.decide(a) is threshold.decide(b) for a, b in zip(final, own.score, strict=True)])

    def of_stream(what: NDArray[np.bool_]) -> float:
        return float((1 - DEFECTIVE) * what[~truth].mean() + DEFECTIVE * what[truth].mean())

    lost = image_auroc(own.score, truth) - image_auroc(final, truth)
    return Cascade(float(twice[~truth].mean()), of_stream(twice), of_stream(equal), lost)


if __name__ == "__main__":
    main()
