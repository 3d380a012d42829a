"""Whether a line's parts keep their orientation: two signs that its good images might give.

Are the other good images farther from one when they are turned askew than as they lie? In a fixture they should be. And
do they come nearer when all their rotations are there? Only then would the parts differ by their angle. `rotation.md`
says how far these signs can be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model_zoo.heads.invariant_inputs import LevelGroups
from model_zoo.heads.whitening import Whitening
from pipeline.episodes import SupportSet


class GoodPatches:
    """The coarsest level's patches of K good images and their views, whitened as `auto` does it.

    Args:
        support: of at least two good images, with A augmentations.
        groups: channel ranges of each level's groups.
    """

    def __init__(self, support: SupportSet, groups: LevelGroups) -> None:
        assert support.k > 1
        seen = Whitening(support, groups).of_support(support)
        views = torch.cat([seen.good[-1][:, None], seen.augmented[-1]], 1)
        self._views = views.flatten(3).transpose(2, 3)  # (K, 1 + A, P, C)

    @torch.no_grad()
    def distances(self, views: Sequence[int]) -> Tensor:
        """Each patch's distance to the nearest one of the other images' views (K * P,); view 0 is as the part lies."""
        K = len(self._views)
        nearest: list[Tensor] = []
        for image in range(K):
            others = [other for other in range(K) if other != image]
            rows = self._views[others][:, list(views)].flatten(0, 2)
            nearest.append(torch.cdist(self._views[image, 0], rows).amin(1))
        return torch.cat(nearest).clamp_min(1e-6)


def farther_askew(patches: GoodPatches, lying: Sequence[int], askew: Sequence[int]) -> float:
    """The median log ratio of distances to the views askew and to as many lying ones; near 0 where parts lie anyhow."""
    return float((patches.distances(askew) / patches.distances(lying)).log().median())


def nearer_turned(patches: GoodPatches, lying: Sequence[int], rotations: Sequence[int]) -> float:
    """The log ratio of the mean distances to the lying views and to the rotations; above 0: rotations are nearer."""
    return float((patches.distances(lying).mean() / patches.distances(rotations).mean()).log())
