"""Transfer: what a learner reaches without meta-learning how to adapt.

Three variants, by `TransferConfig.start`:

- "random": a random trunk and head trained on the support alone; nothing comes from other lines.
- "pooled": trunk and theta0 trained on all source lines together, then fine-tuned on the support.
- "in_context": the same, used as it is. The support speaks through the product-invariant inputs only.

Sources: the strong plain baselines of few-shot learning (Chen et al., "A Closer Look at Few-shot Classification",
ICLR 2019; Tian et al., "Rethinking Few-Shot Image Classification", ECCV 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from model_zoo.learning.inner_loop import Parameters, guarded_inner_loop
from model_zoo.learning.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.learning.tasks import TaskInputs
from pipeline.features import BackboneSpec
from pipeline.learner import MetaLearner


@dataclass(frozen=True, kw_only=True)
class TransferConfig(TaskLearnerConfig):
    """`start` as in the docstring above; steps of the fit on the support, and its rates of theta and of the trunk."""

    start: Literal["random", "pooled", "in_context"] = "random"
    steps: int = 30
    rate: float = 0.1
    trunk_step: float = 0.02


class TransferLearner(TaskLearner):
    """See the module."""

    def __init__(self, spec: BackboneSpec, config: TransferConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.transfer = config
        self.name = {"random": "transfer", "pooled": "transfer_pooled", "in_context": "in_context"}[config.start]

    def as_meta(self) -> MetaLearner | None:
        """Itself, unless it starts at random."""
        return None if self.transfer.start == "random" else self

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """theta0 as it is, or fitted to the support. In the outer loop every variant is pooled training."""
        if training or self.transfer.start == "in_context":
            return {"theta": self.theta0}, 0.0
        start: Parameters = {"theta": self.theta0}
        rates: dict[str, Tensor | float] = {"theta": self.transfer.rate}
        if self.transfer.start == "random":
            for name, value in self.trunk.named_parameters():
                start[f"trunk.{name}"], rates[f"trunk.{name}"] = value, self.transfer.trunk_step

        loss = self.support_loss(support, "all" if self.transfer.start == "random" else "theta")
        return guarded_inner_loop(start, loss, steps=self.transfer.steps, rates=rates), 0.0
