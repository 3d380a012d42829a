"""Few-shot sinusoid regression (Finn et al., ICML 2017, section 5.1), with the learners' own functions on an MLP.

All T tasks of a batch adapt at once: every tensor of the network has a task dimension, and losses are summed over
tasks, so that the gradient of each task's network is its own. Particles and draws come before the tasks: (M, T, ...).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from model_zoo.learners.abml import draws, free_energy, total_kl
from model_zoo.learners.bmaml import svgd_direction
from model_zoo.learning.inner_loop import (
    LossOf,
    Parameters,
    bounded_rates,
    gradient_direction,
    half_squared_distance,
    in_turn,
    inner_loop,
)

RATE = 0.01
INNER_RATES = (0.001, 0.003, 0.01, 0.02, 0.03)
SIZES = (1, 40, 40, 1)


class Tasks(NamedTuple):
    """T sinusoids, seen at K support and Q query points: each (T, K or Q, 1)."""

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor


def sample_tasks(
    count: int, shots: int, queries: int, *, generator: torch.Generator, frequencies: tuple[float, float] = (1.0, 1.0)
) -> Tasks:
    """Amplitude in 0.1..5, phase in 0..pi, x in -5..5, all uniform."""

    def uniform(low: float, high: float, points: int) -> Tensor:
        return low + (high - low) * torch.rand(count, points, 1, generator=generator)

    amplitude, phase, frequency = uniform(0.1, 5.0, 1), uniform(0.0, math.pi, 1), uniform(*frequencies, 1)
    x = uniform(-5.0, 5.0, shots + queries)
    y = amplitude * torch.sin(frequency * x + phase)
    return Tasks(x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:])


def unseen_tasks(count: int, shots: int, *, seed: int, frequencies: tuple[float, float] = (1.0, 1.0)) -> Tasks:
    """Tasks for a test: equal for equal seeds, 100 query points each."""
    return sample_tasks(count, shots, 100, generator=torch.Generator().manual_seed(seed), frequencies=frequencies)


def initial_mlp(generator: torch.Generator) -> Parameters:
    """1 - 40 - 40 - 1 with ReLU, uniform as torch.nn.Linear's; weights (in, out), biases (1, out)."""
    network: Parameters = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(SIZES)):
        for name, rows in (("weight", fan_in), ("bias", 1)):
            network[f"{name}{layer}"] = (2 * torch.rand(rows, fan_out, generator=generator) - 1) * fan_in**-0.5
    return network


def predict(network: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """(..., T, K, 1) from networks (..., T, in, out) and x (T, K, 1)."""
    for layer in range(len(SIZES) - 1):
        x = (x.relu() if layer else x) @ network[f"weight{layer}"] + network[f"bias{layer}"]
    return x


def squared_errors(predictions: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of each network (..., T)."""
    return (predictions - y).square().mean((-2, -1))


def for_each_task(parameters: Mapping[str, Tensor], count: int, *, at: int = 0) -> Parameters:
    """Parameters with a task dimension of size `count` inserted at `at`."""
    return {
        name: value.unsqueeze(at).expand(*value.shape[:at], count, *value.shape[at:])
        for name, value in parameters.items()
    }


class Pooled:
    """The baseline, and what the meta-learners share: `meta` is trained by `outer_loss` and adapted by an inner loop.

    Here the outer loss is the error on all tasks together, without an inner loop.
    """

    rate = RATE
    direction = staticmethod(gradient_direction)

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.meta = initial_mlp(generator)
        self.own: Parameters = {}  # meta-parameters beside the initialisation

    def start(self, count: int) -> Parameters:
        return for_each_task(self.meta, count)

    def rates(self) -> dict[str, Tensor | float]:
        return dict.fromkeys(self.meta, self.rate)

    def inner_loss(self, x: Tensor, y: Tensor) -> LossOf:
        return lambda phi: squared_errors(predict(phi, x), y).sum()

    def adapted(self, tasks: Tasks, steps: int, *, create_graph: bool) -> Parameters:
        """What every task's inner loop arrives at."""
        return self.moved(
            self.start(len(tasks.support_x)), self.inner_loss(*tasks[:2]), steps, create_graph=create_graph
        )

    def moved(self, start: Parameters, loss: LossOf, steps: int, *, create_graph: bool) -> Parameters:
        return inner_loop(
            start,
            loss,
            steps=steps,
            rates=self.rates(),
            create_graph=create_graph,
            direction=self.direction,
            clip=math.inf,
        )

    def predictions(self, phi: Parameters, x: Tensor) -> Tensor:
        """(T, K, 1)."""
        return predict(phi, x)

    def outer_loss(self, tasks: Tasks) -> Tensor:
        return squared_errors(predict(self.meta, tasks.query_x), tasks.query_y).mean()

    def meta_train(
        self,
        iterations: int,
        shots: int,
        *,
        tasks: int = 25,
        rate: float = 1e-3,
        frequencies: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Outer steps of Adam at `rate`, each on a batch of fresh tasks."""
        parameters = [value.requires_grad_(True) for value in (*self.meta.values(), *self.own.values())]
        optimiser = torch.optim.Adam(parameters, lr=rate)
        for _ in range(iterations):
            loss = self.outer_loss(sample_tasks(tasks, shots, shots, generator=self.generator, frequencies=frequencies))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 10.0)
            optimiser.step()

    def errors(self, tasks: Tasks, steps: int) -> Tensor:
        """Mean squared error on the query of each task (T,) after `steps` steps on its support."""
        predictions = self.predictions(self.adapted(tasks, steps, create_graph=False), tasks.query_x)
        return squared_errors(predictions.detach(), tasks.query_y)

    def take_best_rate(self, tasks: Tasks, steps: int) -> float:
        """Set the inner rate to that of INNER_RATES with the least mean error after `steps` steps; return the error."""

        def error(rate: float) -> float:
            self.rate = rate
            return float(self.errors(tasks, steps).mean().nan_to_num(torch.inf))

        self.rate = min(INNER_RATES, key=error)
        return error(self.rate)


class Maml(Pooled):
    """Meta-trained for one inner step, as in the papers."""

    second_order = True

    def outer_loss(self, tasks: Tasks) -> Tensor:
        phi = self.adapted(tasks, 1, create_graph=self.second_order)
        return squared_errors(self.predictions(phi, tasks.query_x), tasks.query_y).mean()


class FirstOrderMaml(Maml):
    second_order = False


class MetaSgd(Maml):
    """`own`: the raw rates, which start at RATE."""

    most = 0.1

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__(generator)
        first = math.log(RATE / (self.most - RATE))
        self.own = {name: torch.full_like(value, first) for name, value in self.meta.items()}

    def rates(self) -> dict[str, Tensor | float]:
        return bounded_rates(self.own, dict.fromkeys(self.own, self.most))


class Reptile(Pooled):
    """Inner steps in the outer loop on support and query in turn."""

    inner_steps = 10

    def outer_loss(self, tasks: Tasks) -> Tensor:
        start = self.start(len(tasks.support_x))
        loss = in_turn(self.inner_loss(*tasks[:2]), self.inner_loss(*tasks[2:]))
        adapted = self.moved(start, loss, self.inner_steps, create_graph=False)
        return half_squared_distance(start, adapted) / len(tasks.support_x)


class Bmaml(Maml):
    """Five particles a task; the meta-parameters are where they start."""

    particles = 5
    rate = 3 * RATE  # with the median bandwidth a particle follows about a third of the mean gradient
    temperature = 1e-3

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__(generator)
        networks = [initial_mlp(generator) for _ in range(self.particles)]
        self.meta = {name: torch.stack([network[name] for network in networks]) for name in self.meta}
        each = partial(svgd_direction, temperature=self.temperature)
        self.direction = torch.func.vmap(each, in_dims=1, out_dims=1)

    def start(self, count: int) -> Parameters:
        return for_each_task(self.meta, count, at=1)

    def predictions(self, phi: Parameters, x: Tensor) -> Tensor:
        return predict(phi, x).mean(0)


class ChaserBmaml(Bmaml):
    """BMAML with the paper's outer loss."""

    leader_steps = 1

    def outer_loss(self, tasks: Tasks) -> Tensor:
        chaser = self.adapted(tasks, 1, create_graph=True)
        of_support, of_query = self.inner_loss(*tasks[:2]), self.inner_loss(*tasks[2:])
        start = {name: value.detach() for name, value in chaser.items()}
        leader = self.moved(start, lambda phi: of_support(phi) + of_query(phi), self.leader_steps, create_graph=False)
        return 2 * half_squared_distance(chaser, leader) / len(tasks.support_x)


class Abml(Maml):
    """Gaussians (2, T, ...) over the weights of each task's network; `meta` holds the prior's."""

    draws = 5
    kl_weight = 1e-4
    spread = 0.03

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__(generator)
        self.meta = {
            name: torch.stack([value, torch.full_like(value, math.log(self.spread))])
            for name, value in self.meta.items()
        }

    def start(self, count: int) -> Parameters:
        return for_each_task(self.meta, count, at=1)

    def adapted(self, tasks: Tasks, steps: int, *, create_graph: bool) -> Parameters:
        """Draws of each task's posterior (S, T, ...)."""
        prior = self.start(len(tasks.support_x))
        self.noise = {
            name: torch.randn(self.draws, *value.shape[1:], generator=self.generator) for name, value in prior.items()
        }
        mean_loss = self.inner_loss(*tasks[:2])
        loss = free_energy(lambda phi: mean_loss(phi) / self.draws, prior, self.noise, kl_weight=self.kl_weight)
        self.posterior = self.moved(prior, loss, steps, create_graph=create_graph)
        return draws(self.posterior, self.noise)

    def predictions(self, phi: Parameters, x: Tensor) -> Tensor:
        return predict(phi, x).mean(0)

    def outer_loss(self, tasks: Tasks) -> Tensor:
        loss = super().outer_loss(tasks)
        count = len(tasks.support_x)
        return loss + self.kl_weight * total_kl(self.posterior, self.start(count)) / count
