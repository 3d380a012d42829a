"""The meta-models that ship with Linewise: how they are made, and how good they are on real lines.

    python -m benchmarks.default_meta_model train LEARNER FOLDER    # lines, run and meta-model below FOLDER; minutes
    python -m benchmarks.default_meta_model test LEARNER LINES [--lines mvtec/pill,...] [--draws 2]

`train` puts the meta-model into the package and prints the hash that model_zoo/shipped.py must name; the card's later
sections are written by hand, the one on real lines from what `test` prints. Tested is what adapting with this learner
would register, at 256 px: 4 good images, 0 or more defective ones, the same query, none of its images in a support.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.draws import cached, draw
from benchmarks.study import asked_lines, one_or_more
from benchmarks.tables import METRICS, mean, metrics, table
from flows.asking.learner_names import LearnerName
from flows.meta_train import job as meta_train
from flows.meta_train.request import MetaTrainRequest
from flows.views import adapt_to_best, view_of
from model_zoo.learner_table import make_learner
from model_zoo.learning.guard import BANK
from model_zoo.shipped import FOLDER, shipped_meta_model
from pipeline.evaluation import evaluate_outputs, score_levels
from pipeline.head_calibration import calibrate_head
from pipeline.meta_model import content_identifier, load_meta_model, save_meta_model
from pipeline.product_lines.lines import ProductLine
from pipeline.settings import load_settings
from pipeline.synthetic.lines import write_lines

IMAGES = {"good": 12, "test_good": 12, "defects": 16}
DEFECTS = (0, 1, 4)
COLUMNS = (*METRICS, "false_reject_rate", "missed_defect_rate")


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a meta-model is made: from so many generated lines, stopped early or not, with their thresholds or without.

    `rival` is the learner that it is tested against, which learns nothing from other lines.
    """

    lines: int
    iterations: int
    patience: int | None
    thresholds: bool
    rival: str


SHIPPED_BY = {
    "in_context": Making(lines=36, iterations=400, patience=6, thresholds=True, rival=BANK),
    "shared_direction": Making(lines=64, iterations=1500, patience=None, thresholds=False, rival="auto"),
}


def train(name: str, folder: Path) -> None:
    """Meta-train on generated lines, put the meta-model into the package, and print its hash."""
    making = SHIPPED_BY[name]
    write_lines(folder / "train", range(2000, 2000 + making.lines), **IMAGES)
    request = MetaTrainRequest(
        lines=folder / "train",
        learner=LearnerName(name),
        iterations=making.iterations,
        output=folder / "run",
    )
    if making.patience is not None:
        write_lines(folder / "held-out", range(3000, 3006), **IMAGES)
        request = request.model_copy(update={"validation_lines": folder / "held-out", "patience": making.patience})
    model = meta_train.run(request, load_settings()).model
    if not making.thresholds:
        identifier = content_identifier(name, model.weights, None)
        model = replace(model, calibration=None, identifier=identifier)
    target = FOLDER / name
    save_meta_model(model, target)
    print(f"{model.early_stopping}\n{hashlib.sha256((target / 'meta.json').read_bytes()).hexdigest()}")


def rows(
    name: str, lines: Iterable[ProductLine], draws: int, most: int, folder: Path | None
) -> Iterator[dict[str, Any]]:
    """One row a line, draw, number of defects and learner."""
    seen = cached(load_settings())
    spec = seen.backbone.spec
    model = load_meta_model(folder) if folder else shipped_meta_model(name)
    assert model is not None
    learned = make_learner(name, spec, outer_steps=model.outer_steps, seed=model.seed)
    learned.load_state_dict(model.weights)
    rival = SHIPPED_BY[name].rival
    learners = {rival: (make_learner(rival, spec), model.calibration and model.calibration.fallback)}
    if learned.fallback is not None:
        learners["shipped, unguarded"] = learned.unguarded(), model.calibration
    learners["shipped"] = learned, model.calibration
    for line in lines:
        for seed in range(draws):
            drawn = draw(line, seen, seed, defects=max(DEFECTS), query=most)
            for defects in DEFECTS:
                view = view_of(seen.backbone, drawn.good, drawn.defects[:defects], features=seen.features, seed=seed)
                for called, (learner, pooled) in learners.items():
                    found = adapt_to_best(learner, [view], seed=seed)
                    threshold = calibrate_head(found.head, view.support, 0.01, pooled).threshold
                    figures = evaluate_outputs(score_levels(found.head, drawn.query.levels), drawn.truth, threshold)
                    fell_back = any(choice.chosen == BANK for choice in found.choices)
                    keys = {"line": line.name, "draw": seed, "defects": defects, "learner": called}
                    yield keys | {column: figures[column] for column in COLUMNS} | {"fell_back": fell_back}


def test(name: str, lines: Iterable[ProductLine], draws: int, most: int, folder: Path | None) -> None:
    """Print every row, then the means of each learner."""
    found = list(rows(name, lines, draws, most, folder))
    for row in found:
        told = [row["line"], row["draw"], row["defects"], row["learner"], *(f"{100 * row[m]:.1f}" for m in COLUMNS)]
        print(*told, *(["fell back"] if row["fell_back"] else []))
    means = []
    for called in dict.fromkeys(row["learner"] for row in found):
        for defects in DEFECTS:
            mine = [row for row in found if (row["learner"], row["defects"]) == (called, defects)]
            shares = [f"{100 * share:.1f}" for share in mean(metrics(row, COLUMNS) for row in mine)]
            means.append([called, f"{defects}", *shares, f"{sum(row['fell_back'] for row in mine)} of {len(mine)}"])
    print("", *table(["", "defects", *COLUMNS, "fell back"], means), sep="\n")


def main() -> None:
    """Do what the command says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    trained, tested = commands.add_parser("train"), commands.add_parser("test")
    for parser_of in (trained, tested):
        parser_of.add_argument("learner", choices=SHIPPED_BY)
    trained.add_argument("folder", type=Path)
    tested.add_argument("folder", type=Path, metavar="LINES")
    tested.add_argument("--lines", default="", help="only these, comma-separated")
    tested.add_argument("--draws", type=one_or_more, default=2)
    tested.add_argument("--query", type=int, default=80, help="most query images of a line, half of them good")
    tested.add_argument("--meta-model", type=Path, help="folder of another meta-model to test instead")
    asked = parser.parse_args()
    if asked.command == "train":
        train(asked.learner, asked.folder.expanduser().absolute())
    else:
        test(asked.learner, asked_lines(tested, asked), asked.draws, asked.query, asked.meta_model)


if __name__ == "__main__":
    main()
