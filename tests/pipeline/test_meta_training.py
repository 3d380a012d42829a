"""The outer loop: resume, reproducibility, draws; and the meta-model on disk."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterable

import pytest
import torch

from model_zoo.learner_table import make_learner
from model_zoo.learning.task_learner import TaskLearner
from pipeline.calibration import SourceScores, pool
from pipeline.early_stopping import EarlyStopping
from pipeline.errors import BundleError, ConfigError, StorageError
from pipeline.learner import OuterStepReport
from pipeline.meta_model import MetaModel, content_identifier, load_meta_model, save_meta_model
from pipeline.meta_training import MetaTrainingConfig, SourceTask, _draws, meta_train
from tests.checkout import REPOSITORY
from tests.parts.episodes import SPEC, ToyLine
from tests.parts.plant import mounted_tmpfs


def learner(name: str = "hypernetwork", steps: int = 12) -> TaskLearner:
    made = make_learner(name, SPEC, outer_steps=steps, pooled_steps=steps // 2, seed=0)
    assert isinstance(made, TaskLearner)
    return made


@pytest.fixture(scope="module")
def tasks() -> list[SourceTask]:
    return [SourceTask(f"set{i % 2}", f"line{i}", learner().prepare(ToyLine(i).episode())) for i in range(4)]


def test_resumed_run_ends_where_an_uninterrupted_one_does(tasks, tmp_path):
    whole = learner()
    reports = meta_train(whole, tasks, MetaTrainingConfig(steps=12), run=tmp_path / "whole")

    class KilledError(Exception):
        pass

    def kill(step: int, _: OuterStepReport) -> None:
        if step == 9:
            raise KilledError

    config = MetaTrainingConfig(steps=12, checkpoint_every=4)
    with pytest.raises(KilledError):
        meta_train(learner(), tasks, config, run=tmp_path / "cut", on_step=kill)
    resumed = learner()
    again = meta_train(resumed, tasks, config, run=tmp_path / "cut", resume=True)
    assert [r.loss for r in again] == [r.loss for r in reports]
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert len((tmp_path / "cut" / "losses.jsonl").read_text().splitlines()) == 12


def stopping(losses: Iterable[float], patience: int = 2) -> EarlyStopping:
    left = iter(losses)
    return EarlyStopping(lambda: next(left), patience=patience, every=2, after=2)


def test_an_outer_loop_stops_when_validation_no_longer_improves_and_keeps_the_best_weights(tasks, tmp_path):
    seen = {}
    trained = learner()
    reports = meta_train(
        trained,
        tasks,
        MetaTrainingConfig(steps=30),
        run=tmp_path,
        on_step=lambda step, _: seen.update({step: copy.deepcopy(trained.state_dict())}),
        stopping=stopping([0.5, 0.3, 0.4, float("nan")]),
    )
    checks = {step: report.figures.get("validation_loss") for step, report in enumerate(reports, 1)}
    assert [step for step, loss in checks.items() if loss is not None] == [4, 6, 8, 10]
    assert len(reports) == 10
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in seen[6].items())
    assert not torch.equal(seen[6]["theta0"], seen[10]["theta0"])
    again = learner()  # the run is over: going on takes no step
    meta_train(again, tasks, MetaTrainingConfig(steps=30), run=tmp_path, resume=True, stopping=stopping([]))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in seen[6].items())


def test_a_resumed_run_stops_where_an_uninterrupted_one_does(tasks, tmp_path):
    losses = [0.5, 0.3, 0.4, 0.35, 0.1]

    class KilledError(Exception):
        pass

    def kill(step: int, _: OuterStepReport) -> None:
        if step == 9:
            raise KilledError

    whole = learner()
    reports = meta_train(whole, tasks, MetaTrainingConfig(steps=30), stopping=stopping(losses))
    config = MetaTrainingConfig(steps=30, checkpoint_every=8)
    with pytest.raises(KilledError):
        meta_train(learner(), tasks, config, run=tmp_path, on_step=kill, stopping=stopping(losses))
    resumed = learner()
    again = meta_train(resumed, tasks, config, run=tmp_path, resume=True, stopping=stopping(losses[3:]))
    assert again == reports
    assert len(again) == 10
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_validating_does_not_disturb_training(tasks):
    held = [learner().prepare(ToyLine(9).episode())]
    alone, watched = learner(), learner()
    expected = meta_train(alone, tasks, MetaTrainingConfig(steps=8))
    never = EarlyStopping(lambda: watched.validation_loss(held), patience=99, every=1)
    reports = meta_train(watched, tasks, MetaTrainingConfig(steps=8), stopping=never)
    assert [report.loss for report in reports] == [report.loss for report in expected]
    assert all(0 < report.figures["validation_loss"] < 10 for report in reports)


def test_resume_with_other_settings_or_without_a_checkpoint_is_one_sentence(tasks, tmp_path):
    meta_train(learner(), tasks, MetaTrainingConfig(steps=2), run=tmp_path)
    with pytest.raises(ConfigError, match="others for seed"):
        meta_train(learner(), tasks, MetaTrainingConfig(steps=4, seed=1), run=tmp_path, resume=True)
    with pytest.raises(StorageError, match="a checkpoint in"):
        meta_train(learner(), tasks, MetaTrainingConfig(steps=2), run=tmp_path / "none", resume=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(BundleError, match="start afresh"):
        meta_train(learner(), tasks, MetaTrainingConfig(steps=2), run=tmp_path, resume=True)


def test_no_episode_is_one_sentence():
    with pytest.raises(ConfigError, match="episodes to meta-train on, got none"):
        meta_train(learner(), [], MetaTrainingConfig(steps=1))


def test_validation_figures_join_the_losses(tasks, tmp_path):
    config = MetaTrainingConfig(steps=4, validate_every=2)
    meta_train(learner(), tasks, config, run=tmp_path, validate=lambda: {"image_auroc held": 0.5})
    rows = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert ["image_auroc held" in row for row in rows] == [False, True, False, True]


def test_data_sets_with_many_lines_do_not_drown_the_others():
    lines = [SourceTask("many", f"m{i}", f"m{i}") for i in range(16)] + [SourceTask("one", "o", "o")]
    draws = _draws(lines, MetaTrainingConfig(steps=1))
    share = sum(next(draws)[0] == "o" for _ in range(4000)) / 4000
    assert share == pytest.approx(1 / 5, abs=0.03)  # sqrt(1) of sqrt(16) + sqrt(1)


def model(**changes: object) -> MetaModel:
    weights = learner().state_dict()
    calibration = pool([SourceScores("a", torch.zeros(2).double().numpy(), torch.ones(3).double().numpy())])
    fields = {
        "identifier": content_identifier("hypernetwork", weights, calibration),
        "learner": "hypernetwork",
        "seed": 0,
        "good": 4,
        "outer_steps": 12,
        "pooled_steps": 6,
        "spec": SPEC,
        "lines": ("a", "b"),
        "calibration": calibration,
        "final_loss": 0.5,
        "weights": weights,
    }
    return MetaModel(**(fields | changes))


def test_meta_model_survives_the_disk(tmp_path):
    save_meta_model(model(), tmp_path / "m")
    save_meta_model(model(), tmp_path / "m")  # replaces the first
    loaded = load_meta_model(tmp_path / "m")
    expected = model()
    assert all(torch.equal(value, loaded.weights[name]) for name, value in expected.weights.items())
    assert (loaded.spec, loaded.calibration, loaded.lines) == (expected.spec, expected.calibration, expected.lines)
    assert "hypernetwork" in (tmp_path / "m" / "card.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_meta_model_from_before_devices_could_be_chosen_was_trained_on_the_cpu(tmp_path):
    save_meta_model(model(trained_on="cuda (X)"), tmp_path)
    assert load_meta_model(tmp_path).trained_on == "cuda (X)"
    fields = json.loads((tmp_path / "meta.json").read_text())
    del fields["trained_on"]
    (tmp_path / "meta.json").write_text(json.dumps(fields))
    assert load_meta_model(tmp_path).trained_on == "cpu"


def test_identifier_changes_with_a_single_weight():
    weights = learner().state_dict()
    before = content_identifier("hypernetwork", weights, None)
    weights["theta0"] = weights["theta0"] + 1e-6
    assert content_identifier("hypernetwork", weights, None) != before


def test_damaged_meta_model_is_one_sentence(tmp_path):
    folder = tmp_path / "m"
    with pytest.raises(BundleError, match="a meta-model in"):
        load_meta_model(folder)
    save_meta_model(model(), folder)
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    with pytest.raises(BundleError, match="another sha256"):
        load_meta_model(folder)
    save_meta_model(model(), folder)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"format_version": 99}))
    with pytest.raises(BundleError, match="format 99"):
        load_meta_model(folder)
    (folder / "meta.json").write_text(json.dumps({k: v for k, v in meta.items() if k != "lines"}))
    with pytest.raises(BundleError, match="complete meta-model"):
        load_meta_model(folder)


KILLED_SAVES = """
import itertools, os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from pipeline.meta_model import load_meta_model, save_meta_model
from tests.pipeline.test_meta_training import model

torch.set_num_threads(1)  # a fork has none of its parent's threads
folder, found = Path(sys.argv[1]), []
for moment in itertools.count(1):
    save_meta_model(replace(model(), seed=1), folder)
    child = os.fork()
    if child == 0:
        steps = itertools.count(1)
        def die(event, arguments):
            if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") and next(steps) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(die)
        save_meta_model(replace(model(), seed=2), folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found.append(load_meta_model(folder).seed)
    if status == 0:
        break
print(*found)
"""
"""Saves over an older meta-model, killed before each step on the file system in turn; prints whose model is there."""


def test_a_save_that_is_killed_at_any_moment_leaves_the_older_meta_model_or_the_new_one(tmp_path):
    command = [sys.executable, "-c", KILLED_SAVES, str(tmp_path / "meta_model")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seeds = done.stdout.split()
    assert set(seeds) == {"1", "2"}
    assert seeds == sorted(seeds)
    assert len(seeds) > 10


def test_a_meta_model_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "meta_model"
    with pytest.raises(StorageError) as caught:
        save_meta_model(model(), folder)
    assert str(caught.value) == (
        f"expected a folder {folder.parent} to write into, got File exists: name another output folder"
    )


def test_a_full_disk_for_a_checkpoint_is_one_sentence_and_leaves_nothing_half_written(tasks, tmp_path):
    with mounted_tmpfs(tmp_path / "small", kilobytes=8) as run:
        sentence = f"expected room on the disk to write {run}/checkpoint.pt, got a full disk"
        with pytest.raises(StorageError, match=sentence):
            meta_train(learner(), tasks, MetaTrainingConfig(steps=12, checkpoint_every=4), run=run)
        assert list(run.iterdir()) == []
