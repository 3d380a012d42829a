"""The meta-model that ships with Linewise: how it is made, and how good it is on real lines.

    python -m benchmarks.default_meta_model train FOLDER       # lines, run and meta-model below FOLDER; minutes
    python -m benchmarks.default_meta_model test LINES [--lines mvtec/pill,...] [--draws 2] [--meta-model FOLDER]

`train` puts the meta-model into the package and prints the hash that model_zoo/shipped.py must name; the card's later
sections are written by hand, the one on real lines from what `test` prints. Tested is what adapting with this learner
would register, at 256 px: 4 good images, 0 or 4 defective ones, the same query, none of its images in a support.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flows.asking.learner_names import LearnerName
from flows.meta_train import job as meta_train
from flows.meta_train.request import MetaTrainRequest
from flows.open_backbone import open_backbone
from flows.views import DEFAULT_SIZE, adapt_to_best, view_of
from model_zoo.learner_table import make_learner
from model_zoo.learning.guard import BANK
from model_zoo.shipped import FOLDER, shipped_meta_model
from pipeline.evaluation import evaluate_outputs, read_truth, score_levels
from pipeline.head_calibration import calibrate_head
from pipeline.meta_model import load_meta_model, save_meta_model
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import load_settings
from pipeline.support import build_query, sample_images
from pipeline.synthetic.lines import write_lines

LEARNER = LearnerName.IN_CONTEXT
IMAGES = {"good": 12, "test_good": 12, "defects": 16}
GOOD = 4
METRICS = ("image_auroc", "pixel_auroc", "aupro", "false_reject_rate", "missed_defect_rate")


def train(folder: Path) -> None:
    write_lines(folder / "train", range(2000, 2036), **IMAGES)
    write_lines(folder / "held-out", range(3000, 3006), **IMAGES)
    request = MetaTrainRequest(
        lines=folder / "train",
        validation_lines=folder / "held-out",
        learner=LEARNER,
        iterations=400,
        patience=6,
        output=folder / "run",
    )
    result = meta_train.run(request, load_settings())
    target = FOLDER / LEARNER.value
    save_meta_model(result.model, target)
    print(f"{result.model.early_stopping}\n{hashlib.sha256((target / 'meta.json').read_bytes()).hexdigest()}")


def rows(lines: list[ProductLine], draws: int, most: int, folder: Path | None) -> Iterator[dict[str, Any]]:
    """One row a line, draw, number of defects and learner."""
    settings = load_settings()
    backbone = open_backbone("tf_efficientnet_lite0", DEFAULT_SIZE, settings)
    features = backbone.cached(settings)
    model = load_meta_model(folder) if folder else shipped_meta_model(LEARNER.value)
    assert model is not None
    learned = make_learner(LEARNER.value, backbone.spec, outer_steps=model.outer_steps, seed=model.seed)
    learned.load_state_dict(model.weights)
    learners = {
        BANK: (make_learner(BANK, backbone.spec), model.calibration and model.calibration.fallback),
        "shipped, unguarded": (learned.unguarded(), model.calibration),
        "shipped": (learned, model.calibration),
    }
    for line in lines:
        for seed in range(draws):
            drawn = sample_images(line, good=GOOD, defects=4, query=most, seed=seed, spare_good=False)
            query = build_query(drawn.query, features, backbone.preprocess())
            truth = read_truth(drawn.query, (DEFAULT_SIZE, DEFAULT_SIZE))
            for defects in (0, 4):
                view = view_of(backbone, drawn.good, drawn.defects[:defects], features=features, seed=seed)
                for name, (learner, pooled) in learners.items():
                    found = adapt_to_best(learner, [view], seed=seed)
                    figures = evaluate_outputs(
                        score_levels(found.head, query.levels),
                        truth,
                        calibrate_head(found.head, view.support, 0.01, pooled),
                    )
                    fell_back = any(choice.chosen == BANK for choice in found.choices)
                    keys = {"line": line.name, "draw": seed, "defects": defects, "learner": name}
                    yield keys | {metric: figures[metric] for metric in METRICS} | {"fell_back": fell_back}


def test(root: Path, names: list[str], draws: int, most: int, folder: Path | None) -> None:
    lines = [line for line in find_lines(root) if not names or line.name in names]
    found = list(rows(lines, draws, most, folder))
    for row in found:
        print(
            row["line"], row["draw"], row["defects"], row["learner"], *(f"{100 * row[m]:.1f}" for m in METRICS), end=""
        )
        print(" fell back" if row["fell_back"] else "")
    print(f"\n| | defects | {' | '.join(METRICS)} | fell back |\n|---|---|{'---|' * (len(METRICS) + 1)}")
    for name in dict.fromkeys(row["learner"] for row in found):
        for defects in (0, 4):
            mine = [row for row in found if (row["learner"], row["defects"]) == (name, defects)]
            means = [f"{100 * float(np.nanmean([row[metric] for row in mine])):.1f}" for metric in METRICS]
            fell_back = f"{sum(row['fell_back'] for row in mine)} of {len(mine)}"
            print(f"| {name} | {defects} | {' | '.join(means)} | {fell_back} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("train").add_argument("folder", type=Path)
    tested = commands.add_parser("test")
    tested.add_argument("lines_folder", type=Path)
    tested.add_argument("--lines", default="")
    tested.add_argument("--draws", type=int, default=2)
    tested.add_argument("--query", type=int, default=80, help="most query images of a line, half of them good")
    tested.add_argument("--meta-model", type=Path, help="folder of another in_context meta-model to test instead")
    arguments = parser.parse_args()
    if arguments.command == "train":
        train(arguments.folder.expanduser().absolute())
    else:
        chosen = [name.strip() for name in arguments.lines.split(",") if name.strip()]
        test(arguments.lines_folder, chosen, arguments.draws, arguments.query, arguments.meta_model)
