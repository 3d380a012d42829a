"""The learned head: product-invariant inputs in, a trunk and a line's theta over them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_zoo.heads.invariant_inputs import HeadInputs, InvariantInputs
from model_zoo.heads.task_head import HeadTrunk, apply_theta, image_score
from pipeline.episodes import SupportSet
from pipeline.learner import AnomalyHead, AnomalyOutput


class LearnedHead(AnomalyHead):
    """Product-invariant inputs, then a scorer (head inputs -> logits (B, H, W)) that a learner adapted."""

    def __init__(self, inputs: InvariantInputs, scorer: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.scorer = scorer
        self.bank_sources = inputs.banks[-1].sources  # type: ignore[assignment]

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        """Score a batch of feature levels."""
        return self.output_of(self.inputs(*levels))

    @torch.no_grad()
    def leave_one_out(self, support: SupportSet) -> AnomalyOutput:
        """The K good images, each scored against the others."""
        return self.output_of(self.inputs.leave_one_out(support))

    @property
    def shared_inputs(self) -> InvariantInputs:
        """The product-invariant inputs, which every learned head of the support has."""
        return self.inputs

    def output_of(self, inputs: HeadInputs) -> AnomalyOutput:
        """The scores of inputs that are already computed."""
        logits = self.scorer(inputs)
        return AnomalyOutput(image_score(logits), logits, inputs.nearest)


class ThetaScorer(nn.Module):
    """A trunk and one line's theta (P,), or its M thetas (M, P)."""

    theta: Tensor

    def __init__(self, trunk: HeadTrunk, theta: Tensor) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("theta", theta.detach().clone())

    def forward(self, inputs: HeadInputs) -> Tensor:
        """Logits (B, H, W)."""
        return apply_theta(self.theta, self.trunk(inputs), inputs.log_base)
