"""Neural process (ANPML): each query cell attends to labelled support cells; what it reads there is added to the head.

    logit = logit of theta0 + decoder(x, attention of x to the context, z)

x: a cell's features. Context: 400 support cells, normal and defective in equal parts where there are enough. Targets:
the query's cells; q(z | context and targets) sees 400 of them, the loss sees all. Outer objective: the query loss with
z ~ q(z | context and targets), plus beta * KL(q(z | context and targets) || q(z | context)). A new line takes the mean
of q(z | context), and no gradient step; what the process adds is dropped where it raises the support loss.

'ANPML' is a name of the source texts without a published algorithm; this definition is ours, after Kim et al.,
"Attentive Neural Processes", ICLR 2019. Ours are the labelled cells as points, theta0's logit as the prediction to
start from, and the anomaly loss in place of the likelihood.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_zoo.heads.invariant_inputs import HeadInputs, scalar_channels
from model_zoo.heads.task_head import DEFECTIVE_SHARE, TRUNK_WIDTH, HeadTrunk, Targets, anomaly_loss, apply_theta
from model_zoo.learning.attentive_process import AttentiveProcess, Points, join
from model_zoo.learning.gaussians import kl_divergence
from model_zoo.learning.set_encoder import cell_features
from model_zoo.learning.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.learning.tasks import PreparedTask, TaskInputs
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class NeuralProcessConfig(TaskLearnerConfig):
    """Settings of the process.

    Args:
        points: context rows, and most target cells that the latent code sees.
        width: of the attention. hidden: of its networks. latent: length of z.
        start_std: of q before training. kl_weight: beta, for a KL in nats.
    """

    points: int = 400
    width: int = 24
    hidden: int = 32
    latent: int = 16
    start_std: float = 0.4
    kl_weight: float = 0.005


def labelled_points(
    features_BXHW: Tensor, targets: Targets, *, count: int, generator: torch.Generator | None
) -> Points:
    """`count` rows: half of them random normal cells, half random defective ones, padding where there are too few.

    y is -1 for a normal cell and 1 for a defective one. Ambiguous cells and images without a mask take no part.
    """
    x = features_BXHW.movedim(1, -1).flatten(0, 2)
    fractions = targets.fractions.flatten()
    known = targets.has_mask[:, None, None].expand_as(targets.fractions).flatten()
    rows, valid = [], []
    for wanted in ((fractions == 0) & known, (fractions > DEFECTIVE_SHARE) & known):
        cells = wanted.nonzero()[:, 0]
        chosen = cells[torch.randperm(len(cells), generator=generator)[: count // 2].to(cells.device)]
        padding = count // 2 - len(chosen)
        rows.append(torch.cat([chosen, chosen.new_zeros(padding)]))
        valid.append(torch.arange(count // 2, device=cells.device) < len(chosen))
    y = torch.cat([x.new_full((count // 2,), label) for label in (-1.0, 1.0)])
    return Points(x[torch.cat(rows)], y, torch.cat(valid))


class _ProcessScorer(nn.Module):
    """The exported scorer: trunk, theta0, process, the line's context and code, and whether it listens to them.

    `share`, 1 or 0, multiplies what the process adds, so that the exported graph has one structure.
    """

    theta: Tensor
    x: Tensor
    y: Tensor
    valid: Tensor
    z: Tensor
    share: Tensor

    def __init__(
        self, trunk: HeadTrunk, theta_P: Tensor, process: AttentiveProcess, context: Points, z: Tensor
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.process = process
        for name, value in {"theta": theta_P, "z": z, "share": z.new_ones(()), **context._asdict()}.items():
            self.register_buffer(name, value.detach().clone())

    def forward(self, inputs: HeadInputs) -> Tensor:
        """Logits (B, H, W)."""
        context = Points(self.x, self.y, self.valid)
        return _logits(self.trunk, self.theta, self.process, inputs, context, self.z, share=self.share)


def _logits(
    trunk: HeadTrunk,
    theta_P: Tensor,
    process: AttentiveProcess,
    inputs: HeadInputs,
    context: Points,
    z: Tensor,
    *,
    share: Tensor | float = 1.0,
) -> Tensor:
    x = cell_features(trunk, inputs).movedim(1, -1)
    added = process(x.flatten(0, 2), context, z).reshape(inputs.log_base.shape)
    return apply_theta(theta_P, trunk.local(x[..., :TRUNK_WIDTH].movedim(-1, 1)), inputs.log_base) + share * added


class NeuralProcessLearner(TaskLearner):
    """See the module."""

    name = "neural_process"

    def __init__(self, spec: BackboneSpec, config: NeuralProcessConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.neural_process = config
        self.process = AttentiveProcess(
            TRUNK_WIDTH + scalar_channels(spec),
            width=config.width,
            hidden=config.hidden,
            latent=config.latent,
            start_std=config.start_std,
            generator=self._generator,
        )

    def points(self, task: TaskInputs, generator: torch.Generator | None) -> Points:
        """Labelled cells of a task."""
        features = cell_features(self.trunk, task.inputs)
        return labelled_points(features, task.targets, count=self.neural_process.points, generator=generator)

    def task_loss(self, task: PreparedTask) -> Tensor:
        """The query loss with a code sampled from context and targets, and the weighted KL."""
        if self._steps_done <= self.config.pooled_steps:
            return super().task_loss(task)
        context = self.points(task.support, self._generator)
        prior = self.process.posterior(context)
        posterior = self.process.posterior(join(context, self.points(task.query, self._generator)))
        z = posterior.sample(self._generator)
        logits = _logits(self.trunk, self.theta0, self.process, task.query.inputs, context, z)
        kl = kl_divergence(posterior, prior)
        return anomaly_loss(logits, task.query.targets) + self.neural_process.kl_weight * kl

    @torch.no_grad()
    def scorer(self, support: TaskInputs) -> nn.Module:
        """Trunk, process, the line's context (drawn from the global generator, which `adapt` seeds) and code."""
        context = self.points(support, None)
        code = self.process.posterior(context).mean
        scorer = _ProcessScorer(self.trunk_with({}), self.theta0, copy.deepcopy(self.process), context, code)
        with_process = anomaly_loss(scorer(support.inputs), support.targets)
        scorer.share.copy_(with_process < self.query_loss({"theta": self.theta0}, support))
        return scorer
