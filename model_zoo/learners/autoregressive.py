"""Autoregressive: theta is written in seven blocks of 14 entries, each conditioned on the blocks before it.

    p(theta | c) = prod_t N(b_t; mean_t, std_t^2),   (mean_t, std_t) from a GRU that has read c and b_1 ... b_{t-1}

Blocks are in units of theta's scale, relative to theta0. Outer objective: the query loss of a sampled theta after a few
inner steps, minus 0.1 times the log likelihood of theta* (`learning.task_optimum`) an entry, teacher-forced. A new
line takes the mean of each block, then guarded steps.

The definition is ours, of known parts: the chain rule with a recurrent network as in Graves, "Generating Sequences With
Recurrent Neural Networks", 2013; the GRU of Cho et al., EMNLP 2014.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_zoo.heads.task_head import THETA_SIZE
from model_zoo.learning.gaussians import Gaussian, gaussian_from
from model_zoo.learning.inner_loop import Parameters
from model_zoo.learning.set_encoder import small_mlp
from model_zoo.learning.task_optimum import OptimumGuided, OptimumGuidedConfig
from model_zoo.learning.tasks import TaskInputs
from pipeline.features import BackboneSpec

BLOCKS = 7
BLOCK_SIZE = THETA_SIZE // BLOCKS


@dataclass(frozen=True, kw_only=True)
class AutoregressiveConfig(OptimumGuidedConfig):
    """`start_std`: of a block before training. `likelihood_weight`: of theta*'s mean log likelihood an entry."""

    start_std: float = 0.4
    likelihood_weight: float = 0.1


class BlockRecurrence(nn.Module):
    """p(b_t | b_<t, c) for blocks of a vector (P,).

    Args:
        encoding_size: length of c. hidden: of the GRU's state. start_std: before training.
        generator: of the initial weights.
    """

    def __init__(self, encoding_size: int, hidden: int, *, start_std: float, generator: torch.Generator) -> None:
        super().__init__()
        self.start_std = start_std
        self.condition = small_mlp((encoding_size, hidden), last_gain=0.7, generator=generator)
        self.cell = nn.GRUCell(BLOCK_SIZE + hidden, hidden)
        with torch.no_grad():
            for value in self.cell.parameters():
                value.copy_((2 * torch.rand(value.shape, generator=generator) - 1) / hidden**0.5)
        self.output = small_mlp((hidden, hidden, 2 * BLOCK_SIZE), last_gain=0.1, generator=generator)

    def unroll(self, c: Tensor, choose: Callable[[int, Gaussian], Tensor]) -> tuple[Tensor, Gaussian]:
        """All blocks (P,), and the Gaussians they came from, each part (BLOCKS, BLOCK_SIZE).

        `choose` gives block t from p(b_t | b_<t, c): a sample, the mean, or the block of a teacher.
        """
        condition = torch.tanh(self.condition(c))
        state, block = c.new_zeros(1, self.cell.hidden_size), c.new_zeros(BLOCK_SIZE)
        blocks: list[Tensor] = []
        conditionals: list[Gaussian] = []
        for t in range(BLOCKS):
            state = self.cell(torch.cat([block, condition])[None], state)
            conditional = gaussian_from(self.output(state[0]), start_std=self.start_std)
            block = choose(t, conditional)
            blocks.append(block)
            conditionals.append(conditional)
        return torch.cat(blocks), Gaussian(*(torch.stack(part) for part in zip(*conditionals, strict=True)))

    def log_likelihood(self, c: Tensor, update_P: Tensor) -> Tensor:
        """Log p(update | c) in nats, with the update's own blocks as what came before (teacher forcing)."""
        teacher = update_P.reshape(BLOCKS, BLOCK_SIZE)
        _, conditionals = self.unroll(c, lambda t, _: teacher[t])
        return conditionals.log_density(teacher).sum()


class AutoregressiveLearner(OptimumGuided):
    """See the module."""

    name = "autoregressive"

    def __init__(self, spec: BackboneSpec, config: AutoregressiveConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.autoregressive = config
        self.blocks = BlockRecurrence(
            self.encoding_size, config.hidden, start_std=config.start_std, generator=self._generator
        )

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        """A sampled theta in training, that of the means on a new line, refined; and theta*'s negative likelihood."""
        c = self.encode(support)
        loss = self.support_loss(support, "theta")
        if not training:
            update, _ = self.blocks.unroll(c, lambda _, conditional: conditional.mean)
            return self.refined(self.theta_from(update), loss, training=False), 0.0
        update, _ = self.blocks.unroll(c, lambda _, conditional: conditional.sample(self._generator))
        likelihood = self.blocks.log_likelihood(c, self.optimal_update(support)) / THETA_SIZE
        parameters = self.refined(self.theta_from(update), loss, training=True)
        return parameters, -self.autoregressive.likelihood_weight * likelihood
