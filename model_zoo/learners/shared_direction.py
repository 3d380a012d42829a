"""Shared direction: the memory bank and defect direction of `auto`, and what other lines teach beside them.

Defects leave the good parts of a line in ways that other lines' defects do, too: a logistic regression between good and
defective cells of the source lines, in units of each line's own good parts, tells defects of lines that it has never
seen. What it says of a cell is added to the map that `auto` would give (`heads.learned_direction`): zero at
initialisation, at work where the line has no defect of its own, and fading as it has more.

All outer steps are pooled ones: the coefficients are learned from all lines together, without an inner loop. The
problem is convex, so there is nothing to start from and little to tune.

Source: ours; learning across categories on residuals to normal features is ResAD's (Yao et al., NeurIPS 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.invariant_inputs import level_groups, token_levels
from model_zoo.heads.learned_direction import LearnedCoefficients
from model_zoo.learning.auto_head import AutoConfig, Recipe, adaptation
from model_zoo.learning.direction_tasks import DirectionTask, direction_task, good_scores
from model_zoo.learning.outer_rate import rate_factor
from pipeline.distributed import average_gradients
from pipeline.episodes import Episode, SupportSet
from pipeline.features import BackboneSpec
from pipeline.learner import Adaptation, Learner, MetaLearner, OuterStepReport


@dataclass(frozen=True, kw_only=True)
class SharedDirectionConfig(AutoConfig):
    """Settings.

    Args:
        outer_steps, pooled_steps: length of the outer loop; all of its steps are pooled ones.
        rate: of Adam; it falls along a cosine.
        ridge: of the coefficients; from 0.3 to 3 the figures are the same.
    """

    outer_steps: int = 600
    pooled_steps: int = 600
    rate: float = 0.03
    ridge: float = 0.3


class SharedDirectionLearner(nn.Module, MetaLearner):
    """See the module."""

    name = "shared_direction"
    chooses_size = True
    sees_tiles = True

    def __init__(self, spec: BackboneSpec, config: SharedDirectionConfig) -> None:
        super().__init__()
        self.config = config
        self.groups, self.tokens = level_groups(spec), token_levels(spec)
        self.coefficients = nn.ParameterList(
            nn.Parameter(torch.zeros(len(LearnedCoefficients._fields), level.channels)) for level in spec.levels
        )
        self.intercept = nn.Parameter(torch.zeros(()))
        self._optimiser: torch.optim.Optimizer | None = None
        self._steps_done = 0

    @property
    def recipe(self) -> Recipe:
        """What heads are made by, on the CPU."""
        return Recipe(groups=self.groups, config=self.config, learned=self.learned(), tokens=self.tokens)

    def learned(self) -> list[LearnedCoefficients]:
        """A copy of what it knows, on the CPU, per level."""
        return [LearnedCoefficients(*values.detach().to("cpu", copy=True)) for values in self.coefficients]

    def choose(self, support: SupportSet, *, seed: int, prepared: None = None) -> Adaptation:  # noqa: ARG002
        """Whiten, build the bank, find the defects' direction; see `pipeline.learner.Learner`."""
        return adaptation(support, self.recipe, seed=seed)

    # --- the outer loop's side --------------------------------------------------------------------------------------

    def prepare(self, episode: Episode) -> DirectionTask:
        """Cells of the query, and what good scores need, through the line's own whitening and bank."""
        return direction_task(episode, self.recipe)

    def outer_step(self, tasks: Sequence[DirectionTask]) -> OuterStepReport:
        """One Adam step on the mean loss of the tasks and the ridge."""
        self._steps_done += 1
        optimiser = self._outer_optimiser()
        loss = torch.stack([self.query_loss(task) for task in tasks]).mean()
        squares = torch.stack([values.square().sum() for values in self.coefficients]).sum()
        optimiser.zero_grad()
        (loss + self.config.ridge * squares).backward()
        average_gradients(self.parameters())
        norm = torch.stack([p.grad.norm() for p in self.parameters() if p.grad is not None]).norm()
        optimiser.step()
        return OuterStepReport(loss=float(loss.detach()), figures={"gradient_norm": float(norm)})

    def query_loss(self, task: DirectionTask) -> Tensor:
        """The logistic loss on the query's cells, good and defective ones weighing alike."""
        device = self.intercept.device
        inputs, weights, defective = (values.to(device, torch.float32) for values in task.query)
        logits = inputs @ torch.cat([values.flatten() for values in self.coefficients]) + self.intercept
        return F.binary_cross_entropy_with_logits(logits, defective, weights, reduction="sum")

    def warm_start(self, pooled: Learner) -> None:
        """Take over what another learned; there are no own steps after it."""
        self.load_state_dict(pooled.state_dict())
        self._steps_done = self.config.pooled_steps

    @torch.no_grad()
    def good_scores(self, task: DirectionTask, *, seed: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Of the support and of the query; see `pipeline.learner.MetaLearner`."""
        return good_scores(task, self.learned())

    @torch.no_grad()
    def validation_loss(self, tasks: Sequence[DirectionTask]) -> float:
        """The mean loss of the coefficients themselves."""
        return float(torch.stack([self.query_loss(task) for task in tasks]).mean())

    def to_device(self, device: torch.device) -> None:
        """Take parameters and outer state to a device."""
        self.to(device)
        self.load_outer_state(self.outer_state())  # goes where the parameters are

    def outer_state(self) -> dict[str, Any]:
        """What resuming the outer loop needs beside the coefficients: optimiser and step count."""
        return {"optimiser": self._outer_optimiser().state_dict(), "steps_done": self._steps_done}

    def load_outer_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `outer_state`; its tensors go to the learner's device."""
        self._steps_done = int(state["steps_done"])
        self._outer_optimiser().load_state_dict(state["optimiser"])

    def _outer_optimiser(self) -> torch.optim.Optimizer:
        if self._optimiser is None:
            self._optimiser = torch.optim.Adam(self.parameters())
        factor = rate_factor(self._steps_done, pooled=self.config.pooled_steps, outer=self.config.outer_steps)
        for group in self._optimiser.param_groups:
            group["lr"] = self.config.rate * factor
        return self._optimiser
