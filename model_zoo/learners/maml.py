"""MAML: an initialisation from which a few gradient steps on the support suffice.

Source: Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning", ICML 2017 (algorithm 1). Variants by config: first order
(FOMAML, section 5.2), and ANIL (Raghu et al., "Rapid Learning or Feature Reuse?", ICLR 2020), which adapts theta only.
With `scope="full"` the trunk adapts as well; otherwise MAML and ANIL would be the same thing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from model_zoo.inner_loop import Parameters, guarded_inner_loop, inner_loop
from model_zoo.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.tasks import TaskInputs
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class MamlConfig(TaskLearnerConfig):
    """Inner loop settings.

    Args:
        order: 2 differentiates through the inner steps, 1 does not.
        scope: "full" adapts theta and the trunk's last convolution, "anil" theta only.
        steps: inner steps. rate: of theta. trunk_inner_rate: of the trunk's tensors.
        proximal: weight of the squared distance to the initialisation in the support loss, in units of theta's scale.
    """

    order: Literal[1, 2] = 2
    scope: Literal["full", "anil"] = "full"
    steps: int = 5
    rate: float = 0.1
    trunk_inner_rate: float = 0.02
    proximal: float = 0.02


class MamlLearner(TaskLearner):
    """See the module."""

    def __init__(self, spec: BackboneSpec, config: MamlConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.maml = config
        self.name = "anil" if config.scope == "anil" else {1: "first_order_maml", 2: "maml"}[config.order]

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """A few steps from the initialisation; guarded on a new line."""
        adapts = "local" if self.maml.scope == "full" else "theta"
        start = self.initial_parameters(adapts)
        rates = {name: self.maml.rate if name == "theta" else self.maml.trunk_inner_rate for name in start}
        loss = self.support_loss(support, adapts, proximal=self.maml.proximal)
        steps = self.maml.steps
        if training:
            return inner_loop(start, loss, steps=steps, rates=rates, create_graph=self.maml.order == 2), 0.0
        return guarded_inner_loop(start, loss, steps=steps, rates=rates), 0.0
