"""theta* of source tasks, and the learners that learn from it."""

from __future__ import annotations

import pytest
import torch

from model_zoo.learner_table import make_learner
from model_zoo.learners.maml_gan import MamlGanLearner
from model_zoo.learning.task_optimum import OptimumGuided, fingerprint, fit_optimum
from model_zoo.learning.tasks import PreparedTask, sampled_task
from pipeline.meta_training import MetaTrainingConfig, SourceTask, meta_train
from tests.parts.episodes import SPEC, ToyLine

GUIDED = ["maml_gan", "autoregressive"]


def guided(name: str, *, steps: int = 8, pooled: int = 2) -> OptimumGuided:
    learner = make_learner(name, SPEC, outer_steps=steps, pooled_steps=pooled, seed=0)
    assert isinstance(learner, OptimumGuided)
    return learner


@pytest.fixture(scope="module")
def tasks() -> list[PreparedTask]:
    return [guided("maml_gan").prepare(ToyLine(seed).episode()) for seed in range(3)]


def test_optimum_halves_the_loss_of_support_and_query_and_leaves_the_learner_alone(tasks):
    learner, task = guided("autoregressive"), tasks[0].unpack()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    optimum = fit_optimum(learner, task, steps=30, rate=0.06, proximal=0.01)
    for part in task:
        loss = learner.support_loss(part, "theta")
        assert float(loss({"theta": optimum}).detach()) < 0.5 * float(loss({"theta": learner.theta0}).detach())
    assert all(torch.equal(before[name], value) for name, value in learner.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.parameters())


def test_tasks_have_different_fingerprints_that_outlive_unpacking_and_blanked_channels(tasks):
    names = [fingerprint(task.support) for task in tasks]
    assert len(set(names)) == 3
    generator = torch.Generator().manual_seed(0)
    seen = [sampled_task(task.unpack(), query_images=4, channel_dropout=0.3, generator=generator) for task in tasks]
    assert [fingerprint(task.support) for task in seen] == names


@pytest.mark.parametrize("name", GUIDED)
def test_optimum_is_fitted_once_a_task_and_only_after_the_pooled_steps(name, tasks, monkeypatch):
    fitted = []

    def count(learner, task, **settings):
        fitted.append(fingerprint(task.support))
        return fit_optimum(learner, task, **settings)

    monkeypatch.setattr("model_zoo.learning.task_optimum.fit_optimum", count)
    learner = guided(name)
    for _ in range(2):
        learner.outer_step(tasks[:2])
    assert fitted == []
    for step in range(4):
        learner.outer_step([tasks[step % 2]])
    assert fitted == [fingerprint(task.support) for task in tasks[:2]]


@pytest.mark.parametrize("name", GUIDED)
def test_resumed_run_ends_where_an_uninterrupted_one_does(name, tasks, tmp_path):
    sources = [SourceTask("toy", str(index), task) for index, task in enumerate(tasks)]
    whole, cut, resumed = guided(name), guided(name), guided(name)
    reports = meta_train(whole, sources, MetaTrainingConfig(steps=8))
    meta_train(cut, sources, MetaTrainingConfig(steps=5), run=tmp_path)
    again = meta_train(resumed, sources, MetaTrainingConfig(steps=8), run=tmp_path, resume=True)
    assert [report.loss for report in again] == [report.loss for report in reports]
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in whole.state_dict().items())


def test_the_discriminator_learns_from_its_own_step_alone(tasks):
    learner = guided("maml_gan", steps=60)
    assert isinstance(learner, MamlGanLearner)
    own = {id(parameter) for group in learner._outer_optimiser().param_groups for parameter in group["params"]}
    assert not own & {id(parameter) for parameter in learner.discriminator.parameters()}
    before = learner.discriminator[0].weight.clone()
    for _ in range(2):
        learner.outer_step([tasks[0]])
    assert torch.equal(learner.discriminator[0].weight, before)  # nothing is generated in the pooled steps
    losses = [learner.outer_step(tasks).figures["discriminator_loss"] for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]
