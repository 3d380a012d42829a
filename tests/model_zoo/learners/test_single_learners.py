"""What is special about single learners, and the inner loop that they share."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch

from model_zoo.heads.task_head import THETA_SIZE, apply_theta
from model_zoo.learner_table import make_learner
from model_zoo.learners.abml import AbmlLearner
from model_zoo.learners.bmaml import BmamlConfig, BmamlLearner
from model_zoo.learners.maml import MamlConfig, MamlLearner
from model_zoo.learners.meta_sgd import MetaSgdLearner
from model_zoo.learners.prototypical import Prototypes, PrototypicalConfig, PrototypicalLearner, prototypical_logits
from model_zoo.learners.reptile import ReptileLearner
from model_zoo.learning.inner_loop import guarded_inner_loop, in_turn, inner_loop
from model_zoo.learning.task_learner import TaskLearner
from model_zoo.learning.tasks import PreparedTask, prepare_support
from tests.parts.episodes import SPEC, ToyLine


@pytest.mark.parametrize("order", [1, 2])
def test_inner_loop_gradient_matches_finite_differences_only_in_second_order(order: int):
    """MAML's equation: d/d start of L_query(start - a * dL_support/d start), checked numerically in float64."""
    start = torch.tensor([0.7, -0.3], dtype=torch.float64, requires_grad=True)

    def support_loss(parameters):
        return (parameters["x"] ** 4).sum() + parameters["x"].prod()

    def query_loss(x):
        phi = inner_loop({"x": x}, support_loss, steps=2, rates={"x": 0.05}, create_graph=order == 2)
        return (phi["x"] - 1.0).square().sum()

    (gradient,) = torch.autograd.grad(query_loss(start), start)
    numeric = []
    for index in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[index] = 1e-5
        above, below = (query_loss((start.detach() + sign * step).requires_grad_(True)).detach() for sign in (1, -1))
        numeric.append((above - below) / 2e-5)
    close = torch.allclose(gradient, torch.stack(numeric), rtol=1e-6)
    assert close if order == 2 else not close


def test_guarded_steps_never_raise_the_loss_even_at_an_absurd_rate():
    def loss(parameters):
        return (parameters["x"] ** 2).sum()

    start = {"x": torch.tensor([0.1])}
    result = guarded_inner_loop(start, loss, steps=5, rates={"x": 1e6})
    assert float(loss(result)) <= float(loss(start))
    assert torch.equal(start["x"], torch.tensor([0.1]))


def test_maml_variants_adapt_what_they_say():
    support = ToyLine(8).support()
    for scope, changes in (("full", True), ("anil", False)):
        learner = MamlLearner(SPEC, MamlConfig(scope=scope), seed=0)
        with torch.no_grad():
            learner.theta0[:-2] += 0.1  # with w = 0 the trunk would get no gradient
        head = learner.adapt(support, seed=0)
        changed = not torch.equal(head.scorer.trunk.local.weight, learner.trunk.local.weight)
        assert changed is changes
        assert not torch.equal(head.scorer.theta, learner.theta0)


def after_pooled_steps(name: str) -> tuple[TaskLearner, PreparedTask]:
    """A learner whose next outer step is its own, with weights that let gradients reach the trunk, and a task."""
    learner = make_learner(name, SPEC, outer_steps=10, pooled_steps=0, seed=0)
    assert isinstance(learner, TaskLearner)
    learner._steps_done = 1
    with torch.no_grad():
        learner.theta0[:-2] += 0.1
    return learner, learner.prepare(ToyLine(10).episode()).unpack()


def test_reptiles_outer_gradient_leads_from_what_the_inner_loop_arrives_at_to_the_start():
    learner, task = after_pooled_steps("reptile")
    assert isinstance(learner, ReptileLearner)
    loss = learner.task_loss(task)
    loss.backward()

    start = learner.initial_parameters("local")
    of_batches = in_turn(*(learner.support_loss(part, "local") for part in task))
    rates = {"theta": 0.1, "trunk.local.weight": 0.02, "trunk.local.bias": 0.02}
    adapted = inner_loop(start, of_batches, steps=6, rates=rates, create_graph=False)
    assert set(start) == set(rates)
    for name, value in start.items():
        assert value.grad is not None
        assert value.grad.abs().max() > 0
        assert torch.allclose(value.grad, value.detach() - adapted[name].detach(), atol=1e-6), name
    assert learner.trunk.mix.weight.grad is None
    assert torch.allclose(loss, learner.query_loss(adapted, task.query))


def test_meta_sgd_learns_a_rate_of_every_parameter_within_bounds():
    learner, task = after_pooled_steps("meta_sgd")
    assert isinstance(learner, MetaSgdLearner)
    before = learner.rates()
    assert {name: value.shape for name, value in learner.initial_parameters("local").items()} == {
        name: rate.shape for name, rate in before.items() if isinstance(rate, torch.Tensor)
    }
    assert torch.allclose(torch.as_tensor(before["theta"]), torch.tensor(0.1))
    learner.outer_step([task])
    assert all(
        not torch.equal(torch.as_tensor(rate), torch.as_tensor(before[n])) for n, rate in learner.rates().items()
    )


@pytest.mark.parametrize("objective", ["query", "chaser"])
def test_bmaml_trains_the_particles_by_either_objective(objective: Literal["query", "chaser"]):
    _, task = after_pooled_steps("bmaml")
    learner = BmamlLearner(SPEC, BmamlConfig(pooled_steps=0, objective=objective), seed=0)
    learner._steps_done = 1
    with torch.no_grad():
        learner.theta0[:-2] += 0.1
    reported = learner.task_loss(task)
    reported.backward()
    particles, _ = learner.adapted(task.support, training=True)
    assert torch.allclose(reported, learner.query_loss(particles, task.query))
    assert learner.offsets.grad is not None
    assert learner.offsets.grad.abs().max() > 0


def test_bmaml_particles_stay_apart_and_the_repulsion_is_what_keeps_them_so():
    task = after_pooled_steps("bmaml")[1]
    spreads = []
    for temperature in (0.0, 1.0):
        learner = BmamlLearner(SPEC, BmamlConfig(temperature=temperature), seed=0)
        particles, _ = learner.adapted(task.support, training=True)
        assert particles["theta"].shape == (5, THETA_SIZE)
        spreads.append(float(particles["theta"].detach().std(0).mean()))
    assert spreads[0] > 0
    assert spreads[1] > 1.2 * spreads[0]


def test_abml_head_holds_draws_around_the_learned_prior_that_follow_the_seed():
    learner = make_learner("abml", SPEC, seed=0)
    assert isinstance(learner, AbmlLearner)
    support = ToyLine(11).support()
    thetas = [learner.adapt(support, seed=seed).scorer.theta for seed in (0, 1)]
    assert thetas[0].shape == (5, THETA_SIZE)
    assert not torch.equal(*thetas)
    with torch.no_grad():
        learner.log_sigma0 -= 20.0
    certain = learner.adapt(support, seed=0).scorer.theta
    assert torch.allclose(certain[0], certain[1], atol=1e-5)
    assert float(thetas[0].std(0).mean()) > 0.01


def test_several_thetas_score_as_the_mean_of_their_logits():
    generator = torch.Generator().manual_seed(0)
    thetas = torch.randn(3, THETA_SIZE, generator=generator)
    trunk, log_base = torch.randn(2, 32, 8, 8, generator=generator), torch.randn(2, 8, 8, generator=generator)
    together = apply_theta(thetas, trunk, log_base)
    assert torch.allclose(together, sum(apply_theta(theta, trunk, log_base) for theta in thetas) / 3, atol=1e-6)


def test_defect_prototype_shrinks_towards_the_prior_without_defects():
    learner = PrototypicalLearner(SPEC, PrototypicalConfig(), seed=0)
    with torch.no_grad():
        learner.prior.fill_(3.0)
    head = learner.adapt(ToyLine(9).support(m=0, n=0), seed=0)
    assert torch.allclose(head.scorer.defect, torch.full_like(head.scorer.defect, 3.0))


@pytest.mark.parametrize("slots", [2, 24])
def test_each_defective_image_has_a_prototype_until_the_slots_are_full(slots: int):
    learner = PrototypicalLearner(SPEC, PrototypicalConfig(slots=slots), seed=0)
    support = prepare_support(ToyLine(9).support(m=3, n=2), learner.groups, learner.config.inputs, seed=0).task
    found = learner.prototypes(support)
    embedding = learner.embed(learner.trunk(support.inputs).relu())
    cells = [
        embedding[i][:, mask]
        for i, mask in enumerate((support.targets.fractions > 0.25) & support.targets.has_mask[:, None, None])
        if mask.any()
    ]
    assert len(cells) == 5
    for slot in range(min(slots, 5)):
        own = torch.cat(cells[slot::slots], 1)
        expected = (own.sum(1) + 20 * learner.prior) / (own.shape[1] + 20)
        assert torch.allclose(found.defect[slot], expected, atol=1e-5)
    assert found.log_weight.exp().sum() == pytest.approx(1)
    assert (found.log_weight.exp() > 0).sum() == min(slots, 5)


def test_a_patch_like_any_kind_of_defect_is_anomalous():
    prototypes = Prototypes(torch.zeros(2), torch.tensor([[3.0, 0], [0, 3.0]]), torch.full((2,), 0.5).log())
    patches = torch.tensor([[0.0, 0], [3, 0], [0, 3]]).T[None, :, None]
    zero, one = torch.zeros(()), torch.ones(())
    logits = prototypical_logits(patches, torch.zeros(1, 1, 3), prototypes, one, zero, zero)[0, 0]
    assert logits[1] == logits[2] == pytest.approx(0.3 * (9 - math.log(2)), abs=1e-3)
    assert logits[0] == pytest.approx(-0.3 * 9, abs=1e-3)
