"""Position-aware distance: a patch against what stood near the same place on the good images.

On aligned products a patch can be normal somewhere and a defect here; nearest neighbours over the whole image do not
see that.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PositionalReference(nn.Module):
    """The good images' own feature maps of one level, to compare with cell by cell within a small window.

    Args:
        good: (K, C, h, w).
        augmented: (K, A, C, h, w), used only when K = 1, where leaving the image out leaves nothing.
        groups: (start, stop) channel ranges. window: cells to each side that still count as the same place.
    """

    padded: Tensor
    sources: Tensor

    def __init__(self, good: Tensor, augmented: Tensor, groups: tuple[tuple[int, int], ...], *, window: int) -> None:
        super().__init__()
        K, A = augmented.shape[:2]
        maps, sources = good, torch.stack([torch.arange(K), torch.full((K,), -1)], 1)
        if K == 1:
            maps = torch.cat([good, augmented[0]])
            sources = torch.cat([sources, torch.stack([torch.zeros(A, dtype=torch.int64), torch.arange(A)], 1)])
        self.register_buffer("padded", F.pad(maps, (window,) * 4, mode="replicate"))
        self.register_buffer("sources", sources)
        self.groups = groups
        self.window = window

    def forward(self, level_BChw: Tensor, excluded_BR: Tensor | None = None) -> Tensor:
        """Distances (B, G, h, w): root mean square over a group's channels to the nearest reference in the window.

        `excluded_BR` bool leaves references out per batch item; it is not part of the exported graph.
        """
        h, w = level_BChw.shape[-2:]
        side = 2 * self.window + 1
        best: list[Tensor | None] = [None] * len(self.groups)
        for dy in range(side):
            for dx in range(side):
                reference = self.padded[None, :, :, dy : dy + h, dx : dx + w]  # (1, R, C, h, w)
                squared = (level_BChw[:, None] - reference).square()
                for index, (start, stop) in enumerate(self.groups):
                    distance = squared[:, :, start:stop].mean(2)
                    if excluded_BR is not None:
                        distance = distance + (excluded_BR * 1e9)[:, :, None, None]
                    nearest = distance.amin(1)
                    so_far = best[index]
                    best[index] = nearest if so_far is None else torch.minimum(so_far, nearest)
        return torch.stack([b for b in best if b is not None], 1).clamp_min(1e-6).sqrt()
