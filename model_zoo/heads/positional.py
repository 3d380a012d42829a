"""Position-aware distance: a patch against what stood near the same place on the good images.

On aligned products a patch can be normal somewhere and a defect here; nearest neighbours over the whole image do not
see that.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.bank import border_weight


class PositionalReference(nn.Module):
    """The good images' own feature maps of one level, to compare with cell by cell within a small window.

    Args:
        good: (K, C, h, w).
        augmented: (K, A, C, h, w), used only when K = 1, where leaving the image out leaves nothing.
        groups: (start, stop) channel ranges. window: cells to each side that still count as the same place.
    """

    padded: Tensor
    sources: Tensor
    cells: Tensor

    def __init__(self, good: Tensor, augmented: Tensor, groups: tuple[tuple[int, int], ...], *, window: int) -> None:
        super().__init__()
        K, A = augmented.shape[:2]
        maps, sources = good, torch.stack([torch.arange(K), torch.full((K,), -1)], 1)
        if K == 1:
            maps = torch.cat([good, augmented[0]])
            sources = torch.cat([sources, torch.stack([torch.zeros(A, dtype=torch.int64), torch.arange(A)], 1)])
        h, w = maps.shape[-2:]
        self.register_buffer("padded", F.pad(maps, (window,) * 4, mode="replicate").flatten(2))
        self.register_buffer("sources", sources)
        # Cell p of the grid, seen through window position s, is cell cells[s, p] of the padded grid.
        grid = torch.arange(h + 2 * window)[:, None] * (w + 2 * window) + torch.arange(w + 2 * window)
        side = 2 * window + 1
        cells = [grid[dy : dy + h, dx : dx + w].flatten() for dy in range(side) for dx in range(side)]
        self.register_buffer("cells", torch.stack(cells))
        self.groups = groups

    def forward(self, level_BChw: Tensor, excluded_BR: Tensor | None = None) -> Tensor:
        """Distances (B, G, h, w): root mean square over a group's channels to the nearest reference in the window.

        Times `border_weight`, as in the bank.
        `excluded_BR` bool leaves references out per batch item; it is not part of the exported graph.
        """
        references = self.padded[:, :, self.cells]  # (R, C, S, P)
        squared = (level_BChw.flatten(2)[:, None, :, None] - references).square()  # (B, R, C, S, P)
        nearest = []
        for start, stop in self.groups:
            distance = squared[:, :, start:stop].mean(2)
            if excluded_BR is not None:
                distance = distance + (excluded_BR * 1e9)[:, :, None, None]
            nearest.append(distance.amin((1, 2)))
        distances = torch.stack(nearest, 1).clamp_min(1e-6).sqrt()
        h, w = level_BChw.shape[-2:]
        return distances.reshape(-1, len(self.groups), h, w) * border_weight(h, w)
