"""Reptile: the initialisation moves towards what each task's adaptation arrives at. No gradient of a query loss.

    start <- start + rate * mean over tasks (adapted - start)

Source: Nichol, Achiam & Schulman, "On First-Order Meta-Learning Algorithms", 2018 (algorithm 2, batched). As section 3
there suggests, (start - adapted) goes to Adam in place of a gradient. There is no split into support and query: the
inner steps take both in turn, because what sets Reptile apart from pooled training is how the gradients of different
minibatches of one task agree (section 5 there). After the pooled steps only what the inner loop changes is trained,
theta0 and the trunk's last convolution; the rest of the trunk stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model_zoo.learning.inner_loop import half_squared_distance, in_turn, inner_loop, with_gradient_of
from model_zoo.learning.learned_start import LearnedStart, LearnedStartConfig
from model_zoo.learning.tasks import PreparedTask
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class ReptileConfig(LearnedStartConfig):
    """`outer_inner_steps`: inner steps in the outer loop, on support and query in turn; `steps` is for a new line."""

    outer_inner_steps: int = 6


class ReptileLearner(LearnedStart):
    """See the module."""

    name = "reptile"

    def __init__(self, spec: BackboneSpec, config: ReptileConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.reptile = config

    def task_loss(self, task: PreparedTask) -> Tensor:
        """The query loss of the adapted parameters as a value; the gradient is Reptile's, start - adapted."""
        if self._steps_done <= self.config.pooled_steps:
            return super().task_loss(task)
        start = self.start()
        loss = in_turn(*(self.support_loss(part, self.adapts) for part in task))
        steps = self.reptile.outer_inner_steps
        adapted = inner_loop(start, loss, steps=steps, rates=self.rates(), create_graph=False)
        with torch.no_grad():
            value = self.query_loss(adapted, task.query)
        return with_gradient_of(half_squared_distance(start, adapted), value)
