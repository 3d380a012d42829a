"""Maps from Lite0's cells to a transformer's tokens, learned from cells that both saw.

Shape letters: B images, h x w the coarser grid, n cells, D inputs and P components of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.episodes import TensorLevels

COMPONENTS = 64
"""P: of the tokens' 768 numbers."""
_RIDGE = 1e-3  # beside inputs of variance one
_HIDDEN, _EPOCHS, _BATCH, _RATE, _DECAY = 256, 8, 1024, 2e-3, 1e-2
Tell = Callable[[TensorLevels], Tensor]
"""Components as maps (B, P, h, w), from the levels of Lite0, finest first, and of the transformer."""


class Cells(NamedTuple):
    """Of images that both networks saw: what Lite0 tells of each cell (n, D), and the transformer's tokens (n, C)."""

    inputs: Tensor
    tokens: Tensor

    @classmethod
    def of(cls, levels: TensorLevels, most: int, seed: int) -> Cells:
        """A sample of at most so many."""
        inputs, tokens = as_rows(inputs_of(levels)), as_rows(levels[2])
        kept = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))[:most]
        return cls(inputs[kept], tokens[kept])


def joined(parts: Sequence[Cells]) -> Cells:
    """All of them."""
    return Cells(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def inputs_of(levels: TensorLevels) -> Tensor:
    """What Lite0 tells of each cell of its coarser grid (B, D, h, w): the finer level's four cells in it, its own, the
    means over 3 x 3 and 7 x 7 cells, and the whole image's.
    """
    fine, coarse = levels[:2]
    own = torch.cat([F.avg_pool2d(fine, 2), coarse], 1)
    around = [F.avg_pool2d(own, side, 1, side // 2, count_include_pad=False) for side in (3, 7)]
    whole = own.mean((2, 3), keepdim=True).expand_as(own)
    return torch.cat([F.pixel_unshuffle(fine, 2), coarse, *around, whole], 1)


def as_rows(maps_BChw: Tensor) -> Tensor:
    """Cells (B h w, C)."""
    return maps_BChw.permute(0, 2, 3, 1).flatten(0, 2)


def _as_maps(cells_nP: Tensor, like: Tensor) -> Tensor:
    return cells_nP.unflatten(0, (len(like), *like.shape[-2:])).permute(0, 3, 1, 2).contiguous()


class Components(NamedTuple):
    """The tokens' largest principal components, each of variance one: `mean` (C,), `matrix` (C, P)."""

    mean: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, by_set: Sequence[Cells]) -> Components:
        """Of data sets that weigh alike."""
        mean = torch.stack([cells.tokens.mean(0) for cells in by_set]).mean(0)
        around = [cells.tokens - mean for cells in by_set]
        values, vectors = torch.linalg.eigh(torch.stack([each.t() @ each / len(each) for each in around]).mean(0))
        return cls(mean, vectors[:, -COMPONENTS:] * values[-COMPONENTS:].clamp_min(1e-8).rsqrt())

    def __call__(self, tokens_nC: Tensor) -> Tensor:
        """Of these tokens (n, P)."""
        return (tokens_nC - self.mean) @ self.matrix

    def tell(self, levels: TensorLevels) -> Tensor:
        """By the tokens themselves; see `Tell`."""
        return _as_maps(self(as_rows(levels[2])), levels[2])


class TokenMap(NamedTuple):
    """Standardises inputs by `mean` and `spread` (D,), and maps them (n, D) to components (n, P)."""

    mean: Tensor
    spread: Tensor
    known: Callable[[Tensor], Tensor]

    def __call__(self, inputs_nD: Tensor) -> Tensor:
        """Of these inputs (n, P)."""
        return self.known((inputs_nD - self.mean) / self.spread)

    def tell(self, levels: TensorLevels) -> Tensor:
        """By Lite0's levels alone; see `Tell`."""
        return _as_maps(self(as_rows(inputs_of(levels))), levels[1])

    def explained(self, components: Components, cells: Cells) -> float:
        """The share of the components' variance between these cells that it explains, at most 1."""
        true, found = components(cells.tokens), self(cells.inputs)
        wrong = (found - found.mean(0)) - (true - true.mean(0))
        return float(1 - wrong.square().sum() / (true - true.mean(0)).square().sum())


def token_maps(by_set: Sequence[Cells], components: Components) -> tuple[TokenMap, TokenMap]:
    """The ridge regression and the network of one hidden layer beside it; data sets weigh alike."""
    mean = torch.stack([cells.inputs.mean(0) for cells in by_set]).mean(0)
    squares = [(cells.inputs - mean).square().mean(0) for cells in by_set]
    spread = torch.stack(squares).mean(0).sqrt().clamp_min(1e-6)
    inputs = [(cells.inputs - mean) / spread for cells in by_set]
    targets = [components(cells.tokens) for cells in by_set]
    linear = _ridge(inputs, targets)
    return TokenMap(mean, spread, linear), TokenMap(mean, spread, _hidden_layer(inputs, targets, linear))


def _ridge(inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """Least squares with a penalty; the targets' mean is nothing."""
    square = torch.stack([x.t() @ x / len(x) for x in inputs]).mean(0)
    product = torch.stack([x.t() @ y / len(x) for x, y in zip(inputs, targets, strict=True)]).mean(0)
    weights = torch.linalg.solve(square + _RIDGE * torch.eye(len(square)), product)
    return lambda cells: cells @ weights


def _hidden_layer(
    inputs: Sequence[Tensor], targets: Sequence[Tensor], linear: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """What one hidden layer tells beyond the ridge, by AdamW on the squared error, as many cells of each data set."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        last = nn.Linear(_HIDDEN, COMPONENTS)
        nn.init.zeros_(last.weight)
        network = nn.Sequential(nn.Linear(inputs[0].shape[1], _HIDDEN), nn.GELU(), last)
        each = _BATCH // len(inputs)
        steps = _EPOCHS * sum(map(len, inputs)) // (each * len(inputs))
        optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            rows = [torch.randint(len(of_set), (each,), generator=generator) for of_set in inputs]
            x, y = (
                torch.cat([of_set[row] for of_set, row in zip(sides, rows, strict=True)]) for sides in (inputs, targets)
            )
            optimiser.zero_grad()
            F.mse_loss(linear(x) + network(x), y).backward()
            optimiser.step()
            schedule.step()
    network.requires_grad_(False)
    return lambda cells: linear(cells) + network(cells)
