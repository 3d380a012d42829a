"""One conformance suite that every learner passes, and what is special about some."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
import pytest
import torch

from deploy.exporting.export import export_head
from model_zoo.inner_loop import guarded_inner_loop, in_turn, inner_loop
from model_zoo.learner_table import LEARNERS, make_learner
from model_zoo.learners.abml import AbmlLearner
from model_zoo.learners.bmaml import BmamlConfig, BmamlLearner
from model_zoo.learners.maml import MamlConfig, MamlLearner
from model_zoo.learners.meta_sgd import MetaSgdLearner
from model_zoo.learners.prototypical import PrototypicalConfig, PrototypicalLearner
from model_zoo.learners.reptile import ReptileLearner
from model_zoo.task_head import THETA_SIZE, apply_theta
from model_zoo.task_learner import TaskLearner
from model_zoo.tasks import PreparedTask
from pipeline.episodes import SupportSet
from pipeline.errors import ConfigError
from pipeline.learner import Learner, MetaLearner
from pipeline.metrics import image_auroc, pixel_auroc
from tests.parts.episodes import SPEC, ToyLine

META = [name for name, entry in LEARNERS.items() if entry.is_meta]


def fresh(name: str, *, steps: int = 40) -> Learner:
    return make_learner(name, SPEC, outer_steps=steps, pooled_steps=steps // 2, seed=0)


def tensors(support: SupportSet) -> list[torch.Tensor]:
    flat = []
    for field in dataclasses.fields(support):
        value = getattr(support, field.name)
        flat += list(value) if isinstance(value, tuple) else [value]
    return flat


@pytest.fixture(params=LEARNERS)
def learner(request: pytest.FixtureRequest) -> Learner:
    return fresh(request.param)


@pytest.mark.parametrize(("k", "m"), [(4, 2), (1, 0), (2, 1), (1, 1)])
def test_output_has_the_promised_shapes_and_is_finite(learner: Learner, k: int, m: int):
    line = ToyLine(1)
    head = learner.adapt(line.support(k=k, m=m), seed=0)
    output = head(*line.query().levels)
    assert output.image_score.shape == (12,)
    assert output.anomaly_map.shape == (12, 8, 8)
    assert output.nearest.shape == (12, 4, 4)
    assert output.nearest.dtype == torch.int64
    assert int(output.nearest.max()) < len(head.bank_sources)
    assert head.bank_sources.shape[1] == 4
    assert all(torch.isfinite(value.float()).all() for value in output)
    loo = head.leave_one_out(line_support := line.support(k=k, m=m))
    assert loo.image_score.shape == (line_support.k,)


def test_equal_seed_and_support_give_equal_heads_and_the_support_is_untouched(learner: Learner):
    support = ToyLine(2).support()
    before = copy.deepcopy(tensors(support))
    query = ToyLine(2).query().levels
    first, second = (learner.adapt(support, seed=3)(*query) for _ in range(2))
    assert torch.equal(first.image_score, second.image_score)
    assert torch.equal(first.anomaly_map, second.anomaly_map)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors(support), strict=True))


def test_adaptation_leaves_global_random_state_alone(learner: Learner):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    learner.adapt(ToyLine(2).support(), seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_adaptation_does_not_change_the_learner(learner: Learner):
    if not isinstance(learner, TaskLearner):
        pytest.skip("it has no meta-parameters")
    before = copy.deepcopy(learner.state_dict())
    learner.adapt(ToyLine(3).support(), seed=0)
    after = learner.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads of equal structure share a graph here as they do in the registry."""
    return tmp_path_factory.mktemp("templates")


@pytest.mark.parametrize("m", [0, 2])
def test_exported_head_scores_as_torch_does(learner: Learner, m: int, tmp_path: Path, templates: Path):
    line = ToyLine(4)
    head = learner.adapt(line.support(m=m), seed=0)
    query = line.query()
    export_head(head, [level[:3] for level in query.levels], tmp_path / "head.onnx", template_folder=templates)
    session = ort.InferenceSession(tmp_path / "head.onnx", providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    feed = {f"level_{i}": level.numpy() for i, level in enumerate(query.levels) if f"level_{i}" in wanted}
    score, anomaly_map, nearest = session.run(["image_score", "anomaly_map", "nearest"], feed)
    expected = head(*query.levels)
    np.testing.assert_allclose(score, expected.image_score.numpy(), atol=1e-4)
    np.testing.assert_allclose(anomaly_map, expected.anomaly_map.numpy(), atol=1e-4)
    assert np.array_equal(nearest, expected.nearest.numpy())


def test_it_finds_obvious_defects_without_meta_training(learner: Learner):
    line = ToyLine(6, shift=4.0)
    query = line.query()
    output = learner.adapt(line.support(), seed=0)(*query.levels)
    assert image_auroc(output.image_score.numpy(), query.labels.numpy()) > 0.95
    assert pixel_auroc(output.anomaly_map.numpy(), (query.masks > 0.5).numpy()) > 0.95


def test_labels_without_masks_are_enough_to_adapt_from(learner: Learner):
    line = ToyLine(7, shift=4.0)
    query = line.query()
    output = learner.adapt(line.support(masks=False), seed=0)(*query.levels)
    assert image_auroc(output.image_score.numpy(), query.labels.numpy()) > 0.9


@pytest.mark.parametrize("name", META)
def test_outer_loop_lowers_the_query_loss(name: str):
    learner = fresh(name, steps=42)
    assert isinstance(learner, MetaLearner)
    tasks = [learner.prepare(ToyLine(seed).episode(m=seed % 3)) for seed in range(6)]
    losses = [learner.outer_step([tasks[step % 6]]).loss for step in range(42)]
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("name", META)
def test_outer_loop_is_reproducible(name: str):
    def train() -> dict[str, torch.Tensor]:
        learner = fresh(name, steps=6)
        assert isinstance(learner, MetaLearner)
        tasks = [learner.prepare(ToyLine(seed).episode()) for seed in range(2)]
        for step in range(6):
            learner.outer_step([tasks[step % 2]])
        return learner.state_dict()

    first, second = train(), train()
    assert all(torch.equal(first[key], second[key]) for key in first)


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


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_calls_itself_by_its_name_in_the_table(name: str):
    assert fresh(name).name == name


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


def test_unknown_learner_is_one_sentence_with_near_names():
    with pytest.raises(ConfigError, match="expected the name of a learner, got 'mamml': use one of: maml"):
        make_learner("mamml", SPEC)
