"""What an evaluation trains is what meta-training makes: as many outer steps, as many of them pooled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from deploy.bundles.manifest import linewise_version
from flows.asking.learner_names import LearnerName
from flows.evaluate.request import Scenario
from flows.evaluate.scenarios.bench import Bench
from flows.evaluate.scenarios.fold_rows import FoldRows
from flows.meta_train import job as meta_train
from flows.meta_train.request import MetaTrainRequest
from flows.progress import Progress
from pipeline.evaluation import Fold
from pipeline.product_lines.lines import find_lines
from pipeline.settings import Settings
from tests.flows.evaluate.scenarios.evaluated import SIZE, request


@pytest.mark.parametrize(
    ("name", "loops"),
    [
        (LearnerName.HYPERNETWORK, [("in_context", 9), ("hypernetwork", 3)]),
        (LearnerName.IN_CONTEXT, [("in_context", 12)]),
    ],
)
def test_iterations_mean_the_same_steps_as_in_meta_training(
    name: LearnerName, loops: list[tuple[str, int]], lines: Path, settings: Settings, tmp_path: Path
):
    fields = {"lines": lines, "size": SIZE, "iterations": 12, "good": 2, "defects": 2, "output": tmp_path}
    made = meta_train.run(MetaTrainRequest(**fields, learner=name), settings)
    told: list[Progress] = []
    bench = Bench(request(lines, Scenario.FEW_SHOT, learners=(name,), iterations=12), settings, told.append)
    learner = bench.train(Fold("all", tuple(find_lines(lines)), ()))[name.value].learner.as_meta()
    assert learner is not None
    assert learner.outer_state()["steps_done"] == len(made.losses) == 12
    steps = learner.config.outer_steps, learner.config.pooled_steps
    assert steps == (made.model.outer_steps, made.model.pooled_steps)
    taken = [(p.stage.removeprefix("meta-train "), p.done) for p in told if p.stage.startswith("meta-train")]
    assert taken == loops, "the pooled steps come first, and only so many of them"


def test_folds_kept_when_iterations_were_the_pooled_steps_alone_are_not_taken_for_new_ones(lines: Path, tmp_path: Path):
    job = request(lines, Scenario.FEW_SHOT)
    same = job.model_dump(mode="json", exclude={"processes", "json_path", "csv_path", "html_path"})
    digest = hashlib.sha256(json.dumps([linewise_version(), same], sort_keys=True).encode()).hexdigest()
    kept = FoldRows(tmp_path, job)
    kept.keep("fold", [])
    assert kept.has("fold")
    assert f"evaluation-{digest[:12]}" not in {path.name for path in tmp_path.iterdir()}
