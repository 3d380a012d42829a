"""What the learners with a learned head share: trunk, theta0, inputs, the outer step. One hook differs: `adapted`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.invariant_inputs import HeadInputs, InvariantConfig, level_groups, scalar_channels
from model_zoo.heads.learned_head import LearnedHead, ThetaScorer
from model_zoo.heads.memory_bank_head import MemoryBankHead
from model_zoo.heads.task_head import HeadTrunk, anomaly_loss, apply_theta, image_score, initial_theta, theta_scale
from model_zoo.learning.guard import BANK, head_choice
from model_zoo.learning.inner_loop import LossOf, Parameters, near
from model_zoo.learning.outer_rate import rate_factor
from model_zoo.learning.tasks import (
    PreparedSupport,
    PreparedTask,
    SupportPreparation,
    TaskInputs,
    prepare_task,
    sampled_task,
    subset,
)
from pipeline.distributed import average_gradients
from pipeline.episodes import Episode, SupportSet
from pipeline.features import BackboneSpec
from pipeline.learner import Adaptation, AnomalyHead, Learner, MetaLearner, OuterStepReport


@dataclass(frozen=True, kw_only=True)
class TaskLearnerConfig:
    """Settings every learner with a learned head has.

    Args:
        inputs: budgets of the product-invariant inputs.
        outer_steps: length of the outer loop.
        pooled_steps: how many of them come first and train trunk and theta0 on the query of all lines together, without
            an inner loop: what later steps then start from. The outer rate falls along a cosine over each part.
        trunk_rate, own_rate: Adam rates of trunk and theta0, and of the learner's own parameters.
        channel_dropout: probability that an input channel is blanked in an outer step.
        query_images: images of the query set used in one outer step, half of them defective where there are enough.
        guard: whether a new line gets the memory bank's head where its support says so, see `model_zoo.learning.guard`.
    """

    inputs: InvariantConfig = field(default_factory=InvariantConfig)
    outer_steps: int = 600
    pooled_steps: int = 450
    trunk_rate: float = 2e-3
    own_rate: float = 3e-3
    channel_dropout: float = 0.1
    query_images: int = 10
    guard: bool = True


Adapts = Literal["theta", "local", "all"]
"""What an inner loop changes: theta; theta and the trunk's last convolution; theta and the whole trunk."""


class TaskLearner(nn.Module, MetaLearner):
    """Base of the learners with a learned head.

    It trains and adapts on the device its parameters are on. Episodes come from the CPU and heads go there, whatever
    the device. Random numbers are drawn on the CPU: equal seeds sample alike everywhere.

    Args:
        spec: of the backbone whose features it reads.
        config: settings. seed: of the initial weights and of what the outer loop samples.
    """

    theta_scale: Tensor
    most_defects = 64

    def __init__(self, spec: BackboneSpec, config: TaskLearnerConfig, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.groups = level_groups(spec)
        self._generator = torch.Generator().manual_seed(seed)
        level_channels = tuple(level.channels for level in spec.levels)
        self.trunk = HeadTrunk(scalar_channels(spec), level_channels, generator=self._generator)
        self.theta0 = nn.Parameter(initial_theta())
        self.register_buffer("theta_scale", theta_scale(), persistent=False)
        self._optimiser: torch.optim.Optimizer | None = None
        self._steps_done = 0

    # --- what a learner fills in ------------------------------------------------------------------------------------

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """The line's parameters from its support task ("theta": (P,), or (M, P) for several whose logits are averaged;
        and "trunk...." entries where the trunk adapts too), and a term to add to the outer loss. In training it stays
        differentiable; on a new line it is guarded.
        """
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.theta0.device

    def own_parameters(self) -> list[nn.Parameter]:
        """The meta-parameters beside trunk and theta0."""
        shared = {id(p) for p in self.trunk.parameters()} | {id(self.theta0)}
        return [p for p in self.parameters() if id(p) not in shared]

    # --- adaptation -------------------------------------------------------------------------------------------------

    def choose(self, support: SupportSet, *, seed: int, prepared: PreparedSupport | None = None) -> Adaptation:
        """Adapt to a line, with the evidence for the head; see `pipeline.learner.Learner`."""
        prepared = prepared or self.preparation(support, seed)
        fit = partial(self.seeded_scorer, seed=seed)
        choice = head_choice(self.name, prepared, fit) if self.config.guard else None
        fell_back = choice is not None and choice.chosen != self.name
        head = (
            MemoryBankHead.of_inputs(prepared.inputs) if fell_back else LearnedHead(prepared.inputs, fit(prepared.task))
        )
        return Adaptation(head=head.eval().requires_grad_(False), choices=(choice,) if choice else ())

    @property
    def preparation(self) -> SupportPreparation:
        """The product-invariant inputs, and the support seen through them."""
        return SupportPreparation(self.groups, self.config.inputs)

    @property
    def fallback(self) -> str | None:
        """The memory bank, where it is guarded."""
        return BANK if self.config.guard else None

    def unguarded(self) -> Self:
        """This learner, its parameters shared, without the guard."""
        other = copy.copy(self)
        other.config = replace(self.config, guard=False)
        return other

    def possible_heads(self, support: SupportSet, *, seed: int) -> list[AnomalyHead]:
        """Its own head and, where it is guarded, the memory bank's."""
        prepared = self.preparation(support, seed)
        own = self.unguarded().choose(support, seed=seed, prepared=prepared).head
        return [own, MemoryBankHead.of_inputs(prepared.inputs)] if self.config.guard else [own]

    @torch.no_grad()
    def good_scores(self, task: PreparedTask, *, seed: int) -> tuple[Tensor, Tensor]:
        """Of the support and of the query; see `pipeline.learner.MetaLearner`."""
        task = task.unpack()
        scorer = self.seeded_scorer(task.support, seed=seed)
        scores = []
        for part in (task.support, task.query):
            good = subset(part, (~part.targets.labels).nonzero()[:, 0])
            scores.append(image_score(scorer(good.inputs)))
        return scores[0], scores[1]

    @torch.no_grad()
    def validation_loss(self, tasks: Sequence[PreparedTask]) -> float:
        """The mean anomaly loss on the query sets; see `pipeline.learner.MetaLearner`."""
        losses = []
        for seed, task in enumerate(tasks):
            support, query = task.unpack()
            losses.append(anomaly_loss(self.seeded_scorer(support, seed=seed)(query.inputs), query.targets))
        return float(torch.stack(losses).mean())

    def seeded_scorer(self, support: TaskInputs, *, seed: int) -> nn.Module:
        """The scorer of a support from the CPU, for the CPU; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            return self.scorer(support.to(self.device)).cpu()

    def scorer(self, support: TaskInputs) -> nn.Module:
        """The adapted scorer: head inputs -> logits (B, H, W), on the learner's device as the support is."""
        parameters, _ = self.adapted(support, training=False)
        return ThetaScorer(self.trunk_with(parameters), parameters["theta"])

    def logits(self, parameters: Parameters, inputs: HeadInputs) -> Tensor:
        """Logits (B, H, W) of a line's parameters."""
        trunk = {name.removeprefix("trunk."): value for name, value in parameters.items() if name != "theta"}
        channels = torch.func.functional_call(self.trunk, trunk, (inputs,)) if trunk else self.trunk(inputs)
        return apply_theta(parameters["theta"], channels, inputs.log_base)

    def initial_parameters(self, adapts: Adapts) -> Parameters:
        """What an inner loop starts from: theta0, and the trunk's tensors that adapt."""
        prefix = {"theta": (), "local": ("local.",), "all": ("",)}[adapts]
        start: Parameters = {"theta": self.theta0}
        start.update((f"trunk.{name}", p) for name, p in self.trunk.named_parameters() if name.startswith(prefix))
        return start

    def support_loss(self, support: TaskInputs, adapts: Adapts, *, proximal: float = 0.0) -> LossOf:
        """The support loss as a function of a line's parameters. What they leave as it is is computed once.

        `proximal` weighs the distance of theta to theta0, see `near`.
        """
        inputs, targets = support
        if adapts == "theta":
            channels = self.trunk(inputs)

            def logits(parameters: Parameters) -> Tensor:
                return apply_theta(parameters["theta"], channels, inputs.log_base)

        elif adapts == "local":
            embedding = self.trunk.embed(inputs)

            def logits(parameters: Parameters) -> Tensor:
                weight, bias = parameters["trunk.local.weight"], parameters["trunk.local.bias"]
                return apply_theta(parameters["theta"], F.conv2d(embedding, weight, bias, padding=1), inputs.log_base)

        else:

            def logits(parameters: Parameters) -> Tensor:
                return self.logits(parameters, inputs)

        def loss(parameters: Parameters) -> Tensor:
            return anomaly_loss(logits(parameters), targets)

        return near({"theta": self.theta0}, loss, unit=self.theta_scale, weight=proximal) if proximal else loss

    def trunk_with(self, parameters: Parameters) -> HeadTrunk:
        """A trunk of the line's own: this one's, with the tensors that it adapted."""
        trunk = copy.deepcopy(self.trunk)
        own = {name.removeprefix("trunk."): value.detach() for name, value in parameters.items() if name != "theta"}
        trunk.load_state_dict(self.trunk.state_dict() | own)
        return trunk

    # --- the outer loop's side --------------------------------------------------------------------------------------

    def prepare(self, episode: Episode) -> PreparedTask:
        """Inputs and targets of an episode."""
        return prepare_task(episode, self.groups, self.config.inputs)

    def outer_step(self, tasks: Sequence[PreparedTask]) -> OuterStepReport:
        """One Adam step on the mean query loss of the tasks."""
        self.train()
        self._steps_done += 1
        optimiser = self._outer_optimiser()
        config = self.config
        losses = [
            self.task_loss(
                sampled_task(task.unpack(self.device), config.query_images, config.channel_dropout, self._generator)
            )
            for task in tasks
        ]
        loss = torch.stack(losses).mean()
        optimiser.zero_grad()
        loss.backward()
        average_gradients(self.parameters())
        norm = nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        optimiser.step()
        return OuterStepReport(loss=float(loss.detach()), figures={"gradient_norm": float(norm)})

    def task_loss(self, task: PreparedTask) -> Tensor:
        """The query loss of one task after adaptation to its support."""
        if self._steps_done <= self.config.pooled_steps:
            return self.query_loss({"theta": self.theta0}, task.query)
        parameters, extra = self.adapted(task.support, training=True)
        return self.query_loss(parameters, task.query) + extra

    def query_loss(self, parameters: Parameters, query: TaskInputs) -> Tensor:
        """The anomaly loss of a line's parameters on its query images."""
        return anomaly_loss(self.logits(parameters, query.inputs), query.targets)

    def warm_start(self, pooled: Learner) -> None:
        """Take over another learner's trunk and theta0, and with them its pooled steps."""
        shared = {
            name: value for name, value in pooled.state_dict().items() if name == "theta0" or name.startswith("trunk.")
        }
        self.load_state_dict(self.state_dict() | shared)
        self._steps_done = self.config.pooled_steps

    def to_device(self, device: torch.device) -> None:
        """Take parameters and outer state to a device."""
        self.to(device)
        self.load_outer_state(self.outer_state())  # goes where the parameters are

    def outer_state(self) -> dict[str, Any]:
        """What resuming the outer loop needs beside the weights: optimiser, step count, generator."""
        return {
            "optimiser": self._outer_optimiser().state_dict(),
            "steps_done": self._steps_done,
            "generator": self._generator.get_state(),
        }

    def load_outer_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `outer_state`; its tensors go to the learner's device."""
        self._steps_done = int(state["steps_done"])
        self._generator.set_state(state["generator"])
        self._outer_optimiser().load_state_dict(state["optimiser"])

    def _outer_optimiser(self) -> torch.optim.Optimizer:
        if self._optimiser is None:
            groups = [{"params": [*self.trunk.parameters(), self.theta0], "base": self.config.trunk_rate}]
            if own := self.own_parameters():
                groups.append({"params": own, "base": self.config.own_rate})
            self._optimiser = torch.optim.Adam(groups)
        factor = rate_factor(self._steps_done, pooled=self.config.pooled_steps, outer=self.config.outer_steps)
        for group in self._optimiser.param_groups:
            group["lr"] = group["base"] * factor
        return self._optimiser
