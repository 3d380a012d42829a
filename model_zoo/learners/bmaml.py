"""BMAML: several thetas a line, moved together so that they fit the support and yet stay apart; logits are averaged.

The M particles follow Stein variational gradient descent (SVGD; Liu & Wang, NeurIPS 2016, algorithm 1):

    theta_i <- theta_i + rate / M * sum_j [k(theta_j, theta_i) grad log p(theta_j) + T * grad_j k(theta_j, theta_i)]

with log p = -(support loss + proximal term) and k an RBF kernel of median bandwidth. T, the temperature, stands for one
over the number of independent observations, because the support loss is a mean.

Source: Yoon et al., "Bayesian Model-Agnostic Meta-Learning", NeurIPS 2018 (algorithm 2). Particles are of theta alone.
The outer objective is the paper's chaser loss or, the default, the query loss of the averaged logits; `BmamlConfig`
says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from model_zoo.heads.task_head import THETA_SIZE, theta_scale
from model_zoo.learning.inner_loop import (
    LossOf,
    Parameters,
    adaptation_loop,
    half_squared_distance,
    inner_loop,
    with_gradient_of,
)
from model_zoo.learning.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.learning.tasks import PreparedTask, TaskInputs
from pipeline.features import BackboneSpec


def svgd_direction(particles: Parameters, gradients: Parameters, *, temperature: float) -> Parameters:
    """What SVGD steps against, from M particles, every tensor (M, ...), and the gradients of -log p at each.

    Each particle follows the kernel-weighted gradients of all and is pushed away from its neighbours. The kernel is
    exp(-|x - y|^2 / h) with h = median of the squared distances / log(M + 1), over all tensors of a particle together.
    """
    x = torch.cat([value.flatten(1) for value in particles.values()], 1)
    gradient = torch.cat([gradients[name].flatten(1) for name in particles], 1)
    M = len(x)
    x = x - x.mean(0).detach()  # only differences count, and they are more exact near the origin
    squares = x.square().sum(1)
    distances = squares[:, None] + squares[None] - 2 * x @ x.T
    rows, columns = torch.triu_indices(M, M, offset=1, device=x.device)
    h = distances[rows, columns].detach().median() / math.log(M + 1) + 1e-12
    kernel = torch.exp(-distances / h)
    repulsion = 2 / h * (kernel.sum(1, keepdim=True) * x - kernel @ x)
    against = (kernel @ gradient - temperature * repulsion) / M
    pieces = against.split([value[0].numel() for value in particles.values()], 1)
    return {name: piece.view_as(particles[name]) for name, piece in zip(particles, pieces, strict=True)}


@dataclass(frozen=True, kw_only=True)
class BmamlConfig(TaskLearnerConfig):
    """Inner loop and outer objective.

    Args:
        particles: M, at least 2. spread: their initial standard deviation around theta0, in units of theta's scale.
        steps: SVGD steps. rate: of theta. temperature: weight of the repulsion.
        proximal: weight of the squared distance to theta0, the prior's part of log p, in units of theta's scale.
        objective: "query" is the query loss of the averaged logits, the default because it trains the trunk as well.
            "chaser" is the paper's: the squared distance of the adapted particles to where `leader_steps` more on
            support and query lead.
        leader_steps: of the chaser loss.
    """

    particles: int = 5
    spread: float = 0.1
    steps: int = 5
    rate: float = 0.25
    temperature: float = 1e-3
    proximal: float = 0.02
    objective: Literal["query", "chaser"] = "query"
    leader_steps: int = 5


class BmamlLearner(TaskLearner):
    """See the module."""

    name = "bmaml"

    def __init__(self, spec: BackboneSpec, config: BmamlConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.bmaml = config
        noise = torch.randn(config.particles, THETA_SIZE, generator=self._generator)
        self.offsets = nn.Parameter(config.spread * theta_scale() * noise)
        self._direction = partial(svgd_direction, temperature=config.temperature)
        self._rates: dict[str, Tensor | float] = {"theta": config.rate}

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """The particles (M, P) after SVGD on the support; on a new line a step counts only if their mean loss falls."""
        particles = adaptation_loop(
            {"theta": self.theta0 + self.offsets},
            self._sum_of_losses(support),
            steps=self.bmaml.steps,
            rates=self._rates,
            training=training,
            direction=self._direction,
        )
        return particles, 0.0

    def task_loss(self, task: PreparedTask) -> Tensor:
        """The query loss; under the chaser objective a value only, and the gradient is the chaser loss's.

        The chaser loss would be least if no particle moved at all, which the shared trunk could bring about by sending
        nothing on: it is trained in the pooled steps only, and theta0 and the particles' offsets follow the chaser.
        """
        if self.bmaml.objective == "query" or self._steps_done <= self.config.pooled_steps:
            return super().task_loss(task)
        of_support, of_query = (self._sum_of_losses(part) for part in task)
        chaser, _ = self.adapted(task.support, training=True)
        leader = inner_loop(
            {"theta": chaser["theta"].detach()},
            lambda particles: of_support(particles) + of_query(particles),
            steps=self.bmaml.leader_steps,
            rates=self._rates,
            create_graph=False,
            direction=self._direction,
        )
        with torch.no_grad():
            value = self.query_loss(chaser, task.query)
        return with_gradient_of(2 * half_squared_distance(chaser, leader), value)

    def _sum_of_losses(self, support: TaskInputs) -> LossOf:
        """The particles' losses, summed, so that the gradient at each particle is its own."""
        loss = self.support_loss(support, "theta", proximal=self.bmaml.proximal)
        return lambda particles: torch.stack([loss({"theta": one}) for one in particles["theta"]]).sum()
