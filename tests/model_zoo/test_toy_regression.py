"""The learners' equations on problems whose answers are known, and on the sinusoids of the papers."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from model_zoo.learners.abml import draws, free_energy, total_kl
from model_zoo.learners.bmaml import svgd_direction
from model_zoo.learning.inner_loop import bounded_rates, half_squared_distance, in_turn, inner_loop
from tests.model_zoo.sinusoids import (
    Abml,
    Bmaml,
    ChaserBmaml,
    FirstOrderMaml,
    Maml,
    MetaSgd,
    Pooled,
    Reptile,
    Tasks,
    initial_mlp,
    unseen_tasks,
)

SHOTS = 10


# --- the equations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_maml_gradient_on_a_quadratic_is_the_analytic_one(order: int):
    """Support loss (x - a)'A(x - a) / 2, query loss |x - b|^2 / 2: dL/dx0 = (I - rate * A)^n (x_n - b) in second order,
    x_n - b in first.
    """
    A = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    a, b = torch.tensor([1.0, -1.0], dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64)
    start = torch.zeros(2, dtype=torch.float64, requires_grad=True)

    def loss(phi):
        return (phi["x"] - a) @ A @ (phi["x"] - a) / 2

    phi = inner_loop({"x": start}, loss, steps=3, rates={"x": 0.1}, create_graph=order == 2, clip=torch.inf)["x"]
    (gradient,) = torch.autograd.grad((phi - b).square().sum() / 2, start)

    through_steps = torch.linalg.matrix_power(torch.eye(2, dtype=torch.float64) - 0.1 * A, 3)
    assert torch.allclose(phi, a - through_steps @ a)
    assert torch.allclose(gradient, through_steps @ (phi - b) if order == 2 else phi - b)


def test_meta_sgd_learns_the_best_rate_of_each_parameter():
    """After one step on a quadratic the best rate of a coordinate is one over its curvature (Newton's step)."""
    curvature = torch.tensor([1.0, 4.0])
    raw = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.Adam([raw], lr=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        optimum = torch.randn(2, generator=generator)

        def loss(phi, optimum=optimum):
            return (curvature * (phi["x"] - optimum).square()).sum() / 2

        rates = bounded_rates({"x": raw}, {"x": 2.0})
        phi = inner_loop({"x": torch.zeros(2)}, loss, steps=1, rates=rates, create_graph=True)
        optimiser.zero_grad()
        loss(phi).backward()
        optimiser.step()
    assert torch.allclose(bounded_rates({"x": raw}, {"x": 2.0})["x"], 1 / curvature, rtol=0.02)


def test_learned_rates_stay_between_zero_and_their_bound():
    rates = bounded_rates({"x": torch.tensor([-1e3, -1.0, 0.0, 1.0, 1e3])}, {"x": 0.4})["x"]
    assert torch.allclose(rates, torch.tensor([0.0, 0.1076, 0.2, 0.2924, 0.4]), atol=1e-4)


def test_reptile_moves_the_initialisation_towards_the_mean_of_the_adapted_parameters():
    """Nichol et al. 2018, algorithm 2: start + rate / n * sum_i (adapted_i - start)."""
    start = {"x": torch.tensor([1.0, 2.0], requires_grad=True), "y": torch.tensor([[3.0]], requires_grad=True)}
    optima = [-1.0, 0.5, 4.0]
    adapted = []
    for optimum in optima:

        def of_x(phi, optimum=optimum):
            return (phi["x"] - optimum).square().sum() + 0 * phi["y"].sum()

        def of_y(phi, optimum=optimum):
            return (phi["y"] - optimum).square().sum() + 0 * phi["x"].sum()

        loss, rates = in_turn(of_x, of_y), {"x": 0.1, "y": 0.3}
        adapted.append(inner_loop(start, loss, steps=2, rates=rates, create_graph=False, clip=torch.inf))
    optimiser = torch.optim.SGD(list(start.values()), lr=0.5)
    before = {name: value.detach().clone() for name, value in start.items()}
    torch.stack([half_squared_distance(start, phi) for phi in adapted]).mean().backward()
    optimiser.step()

    for name, rate in (("x", 0.1), ("y", 0.3)):
        expected_adapted = [before[name] - rate * 2 * (before[name] - optimum) for optimum in optima]
        assert all(torch.allclose(phi[name], e) for phi, e in zip(adapted, expected_adapted, strict=True))
        moved = before[name] + 0.5 * (torch.stack(expected_adapted).mean(0) - before[name])
        assert torch.allclose(start[name], moved)


def test_svgd_particles_take_the_mean_and_covariance_of_a_gaussian():
    """Both coordinates in tensors of their own: the kernel sees a particle as a whole. They lie a little too close."""
    mean = torch.tensor([1.0, -2.0])
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.5]])
    precision = covariance.inverse()

    def loss(phi):
        away = torch.cat([phi["a"], phi["b"]], 1) - mean
        return ((away @ precision) * away).sum() / 2

    noise = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    particles = inner_loop(
        {"a": noise[:, :1].clone(), "b": noise[:, 1:].clone()},
        loss,
        steps=500,
        rates={"a": 0.5, "b": 0.5},
        create_graph=False,
        direction=partial(svgd_direction, temperature=1.0),
        clip=torch.inf,
    )
    x = torch.cat([particles["a"], particles["b"]], 1).detach()
    assert torch.allclose(x.mean(0), mean, atol=0.01)
    assert torch.allclose(x.T.cov(), covariance, rtol=0.1)


def test_svgd_direction_is_the_papers_sum():
    """Liu & Wang 2016, eq. 8, with the kernel's gradient by autograd; the direction is stepped against."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    score = torch.randn(4, 3, dtype=torch.float64, generator=generator)  # grad log p at each particle
    against = svgd_direction({"x": x}, {"x": -score}, temperature=0.7)["x"]

    h = torch.pdist(x).square().median() / torch.log(torch.tensor(5.0, dtype=torch.float64))
    for i in range(4):
        expected = torch.zeros(3, dtype=torch.float64)
        for j in range(4):
            xj = x[j].clone().requires_grad_(True)
            kernel = torch.exp(-(xj - x[i]).square().sum() / h)
            (kernel_gradient,) = torch.autograd.grad(kernel, xj)
            expected += (kernel.detach() * score[j] + 0.7 * kernel_gradient) / 4
        assert torch.allclose(against[i], -expected)


def test_kl_divergence_is_that_of_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    q, p = ({"a": torch.randn(2, 5, generator=generator), "b": torch.randn(2, 1, generator=generator)} for _ in "qp")
    expected = sum(
        torch_kl(Normal(q[name][0], q[name][1].exp()), Normal(p[name][0], p[name][1].exp())).sum() for name in q
    )
    assert torch.allclose(total_kl(q, p), expected)


def test_abml_inner_steps_reach_the_posterior_of_a_conjugate_model():
    """Prior N(0, 2^2), n observations of unit variance with mean y: posterior precision 1/4 + n, mean n y / that."""
    n, y = 3, 1.5
    prior = {"x": torch.tensor([[0.0], [2.0]])}
    prior["x"][1].log_()
    noise = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    noise = {"x": torch.cat([noise, -noise])}  # pairs, whose mean is exactly zero
    loss = free_energy(lambda phi: n * (phi["x"] - y).square().mean() / 2, prior, noise, kl_weight=1.0)
    start = {"x": prior["x"].clone()}
    q = inner_loop(start, loss, steps=300, rates={"x": 0.05}, create_graph=False, clip=torch.inf)["x"].detach()
    precision = 0.25 + n
    assert torch.allclose(q[0], torch.tensor(n * y / precision), rtol=0.01)
    assert torch.allclose(q[1].exp(), torch.tensor(precision**-0.5), rtol=0.05)
    assert draws({"x": q}, noise)["x"].shape == (4000, 1)


# --- sinusoids ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pooled_errors() -> dict[int, float]:
    """What fine-tuning after pooled training reaches in 1 and 5 steps, each at the best of some inner rates."""
    learner = Pooled(torch.Generator().manual_seed(0))
    learner.meta_train(600, SHOTS, tasks=16, rate=3e-3)
    return {steps: learner.take_best_rate(unseen_tasks(200, SHOTS, seed=1), steps) for steps in (1, 5)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "outer_steps", "rate", "of_one_step", "of_five_steps"),
    [
        (Maml, 600, 3e-3, 0.6, 0.45),
        (FirstOrderMaml, 600, 3e-3, 0.75, 0.65),
        (MetaSgd, 600, 3e-3, 0.45, 0.35),
        (Reptile, 250, 3e-3, 0.75, 0.5),
        (Bmaml, 250, 5e-3, 0.75, 0.7),
        (ChaserBmaml, 250, 5e-3, 0.75, 0.65),
        (Abml, 250, 3e-3, 0.75, 0.65),
    ],
)
def test_meta_training_beats_pooled_training_with_fine_tuning(
    method: type[Pooled],
    outer_steps: int,
    rate: float,
    of_one_step: float,
    of_five_steps: float,
    pooled_errors: dict[int, float],
):
    """By a stated factor of the mean squared error on unseen sinusoids."""
    learner = method(torch.Generator().manual_seed(0))
    learner.meta_train(outer_steps, SHOTS, tasks=16, rate=rate)
    tasks = unseen_tasks(200, SHOTS, seed=1)
    one, five = (float(learner.errors(tasks, steps).mean()) for steps in (1, 5))
    assert one < of_one_step * pooled_errors[1]
    assert five < of_five_steps * pooled_errors[5]


def test_tasks_adapt_independently():
    """A task's network is the same alone and among others: the batched inner loop is the paper's, task by task."""
    learner = Maml(torch.Generator().manual_seed(0))
    tasks = unseen_tasks(200, SHOTS, seed=2)
    alone = Tasks(*(column[3:4] for column in tasks))
    together = learner.adapted(tasks, 3, create_graph=False)
    for name, value in learner.adapted(alone, 3, create_graph=False).items():
        assert torch.allclose(value[0], together[name][3], atol=1e-5)
    assert not torch.allclose(together["weight1"][3], initial_mlp(torch.Generator().manual_seed(0))["weight1"])
