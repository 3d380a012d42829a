"""theta* of a source task: what a long fit on all of its images, support and query, ends at.

Generative learners learn from it what a line's theta looks like. It exists in meta-training only, where the query is
labelled, and is fitted once a task, with the trunk as it is when the task is first met after the pooled steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model_zoo.heads.invariant_inputs import concatenate
from model_zoo.heads.task_head import Targets
from model_zoo.learning.inner_loop import near
from model_zoo.learning.task_learner import TaskLearner
from model_zoo.learning.tasks import PreparedTask, TaskInputs
from model_zoo.learning.theta_generator import ThetaGenerator, ThetaGeneratorConfig
from pipeline.features import BackboneSpec
from pipeline.learner import OuterStepReport


@dataclass(frozen=True, kw_only=True)
class OptimumGuidedConfig(ThetaGeneratorConfig):
    """`fit_steps`, `fit_rate`: Adam steps to theta*, their rate. `fit_proximal`: weight of the distance to theta0."""

    fit_steps: int = 60
    fit_rate: float = 0.06
    fit_proximal: float = 0.01


def fit_optimum(learner: TaskLearner, task: PreparedTask, *, steps: int, rate: float, proximal: float) -> Tensor:
    """theta* (P,): Adam from theta0 on the loss of support and query together; the trunk does not move."""
    both = TaskInputs(
        concatenate([task.support.inputs, task.query.inputs]),
        Targets(*(torch.cat(columns) for columns in zip(task.support.targets, task.query.targets, strict=True))),
    )
    with torch.no_grad():
        plain_loss = learner.support_loss(both, "theta")
    loss = near({"theta": learner.theta0.detach()}, plain_loss, unit=learner.theta_scale, weight=proximal)
    theta = learner.theta0.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([theta], lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        loss({"theta": theta}).backward()
        optimiser.step()
    return theta.detach()


def fingerprint(support: TaskInputs) -> str:
    """Names a support by its memory bank's anomaly maps, which neither a resumed run nor a blanked channel changes."""
    return hashlib.sha256(support.inputs.log_base.half().cpu().numpy().tobytes()).hexdigest()


class OptimumGuided(ThetaGenerator):
    """Base of the generative learners that learn from theta*."""

    def __init__(self, spec: BackboneSpec, config: OptimumGuidedConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.fit = config
        self._optima: dict[str, Tensor] = {}

    def optimal_update(self, support: TaskInputs) -> Tensor:
        """(theta* - theta0) / scale of a task met in the outer loop (P,): what a generator should have written."""
        return (self._optima[fingerprint(support)] - self.theta0.detach()) / self.theta_scale

    def outer_step(self, tasks: Sequence[PreparedTask]) -> OuterStepReport:
        """The outer step, once theta* of its tasks is known."""
        if self._steps_done >= self.config.pooled_steps:
            for task in tasks:
                self._fit_once(task)
        return super().outer_step(tasks)

    def outer_state(self) -> dict[str, Any]:
        """Also the optima: a resumed run has another trunk and would fit others."""
        return super().outer_state() | {"optima": self._optima}

    def load_outer_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `outer_state`."""
        super().load_outer_state(state)
        self._optima = {name: optimum.to(self.device) for name, optimum in state["optima"].items()}

    def _fit_once(self, task: PreparedTask) -> None:
        name = fingerprint(task.support)
        if name not in self._optima:
            self._optima[name] = fit_optimum(
                self,
                task.unpack(self.device),
                steps=self.fit.fit_steps,
                rate=self.fit.fit_rate,
                proximal=self.fit.fit_proximal,
            )
