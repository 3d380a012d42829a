"""Shared direction: the memory bank and defect direction of `auto`, whose direction starts from what other lines teach.

Defects leave the good parts of a line in ways that other lines' defects do, too: a logistic regression between good and
defective cells of the source lines, their features whitened by each line's own good parts, tells defects of lines that
it has never seen. Its coefficients are the mean of the prior of a new line's own regression: with no defect they are
the direction, and the more defects there are the further it may leave them. A hierarchical model, whose upper level
the outer loop learns by the likelihood alone.

All outer steps are pooled ones: the prior is learned from all lines together, without an inner loop. The problem is
convex, so there is nothing to start from and little to tune.

Sources: MAP estimates under a meta-learned prior: Grant et al., ICLR 2018; Rajeswaran et al., NeurIPS 2019; with
features and residuals of a whitened memory bank ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.defect_direction import Cells, Coefficients, joined
from model_zoo.heads.invariant_inputs import level_groups, token_levels
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
        ridge: of the prior's coefficients; from 0.003 to 0.3 the figures are much the same.
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
        channels = [level.channels for level in spec.levels]
        self.features = nn.ParameterList(nn.Parameter(torch.zeros(count)) for count in channels)
        self.residuals = nn.ParameterList(nn.Parameter(torch.zeros(count)) for count in channels)
        self.intercepts = nn.ParameterList(nn.Parameter(torch.zeros(len(ranges))) for ranges in self.groups)
        self._optimiser: torch.optim.Optimizer | None = None
        self._steps_done = 0

    @property
    def recipe(self) -> Recipe:
        """What heads are made by, on the CPU."""
        prior = [
            Coefficients(*(values.detach().to("cpu", copy=True) for values in level))
            for level in zip(self.features, self.residuals, strict=True)
        ]
        return Recipe(groups=self.groups, config=self.config, prior=prior, tokens=self.tokens)

    def choose(self, support: SupportSet, *, seed: int, prepared: None = None) -> Adaptation:  # noqa: ARG002
        """Whiten, build the bank, find the defects' direction from the prior on; see `pipeline.learner.Learner`."""
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
        squares = torch.stack([values.square().sum() for values in (*self.features, *self.residuals)]).sum()
        optimiser.zero_grad()
        (loss + self.config.ridge * squares).backward()
        average_gradients(self.parameters())
        norm = torch.stack([p.grad.norm() for p in self.parameters() if p.grad is not None]).norm()
        optimiser.step()
        return OuterStepReport(loss=float(loss.detach()), figures={"gradient_norm": float(norm)})

    def query_loss(self, task: DirectionTask) -> Tensor:
        """The logistic loss of the prior on the query's cells, good and defective ones weighing alike, summed over
        groups.
        """
        losses = []
        for index, (level, ranges) in enumerate(zip(task.query, self.groups, strict=True)):
            device = self.intercepts[index].device
            cells = Cells(*(values.to(device, torch.float32) for values in level.cells))
            weights, labels = level.weights.to(device), level.defective.to(device, torch.float32)
            prior = Coefficients(self.features[index], self.residuals[index])
            for group, (start, stop) in enumerate(ranges):
                inside = slice(start, stop)
                logits = joined(cells, inside) @ joined(prior, inside) + self.intercepts[index][group]
                losses.append(F.binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum"))
        return torch.stack(losses).sum()

    def warm_start(self, pooled: Learner) -> None:
        """Take over another's prior; there are no own steps after it."""
        self.load_state_dict(pooled.state_dict())
        self._steps_done = self.config.pooled_steps

    @torch.no_grad()
    def good_scores(self, task: DirectionTask, *, seed: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Of the support and of the query; see `pipeline.learner.MetaLearner`."""
        return good_scores(task, self.recipe)

    @torch.no_grad()
    def validation_loss(self, tasks: Sequence[DirectionTask]) -> float:
        """The mean loss of the prior itself, before a line's own defects add theirs."""
        return float(torch.stack([self.query_loss(task) for task in tasks]).mean())

    def to_device(self, device: torch.device) -> None:
        """Take parameters and outer state to a device."""
        self.to(device)
        self.load_outer_state(self.outer_state())  # goes where the parameters are

    def outer_state(self) -> dict[str, Any]:
        """What resuming the outer loop needs beside the prior: optimiser and step count."""
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
