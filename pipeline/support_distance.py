"""How far an image as a whole lies from a support: the angle between pooled features.

A level's features are averaged over the image and brought to length 1; the distance of two images is the root of the
mean, over levels, of the squared distance of these vectors: 0 for equal ones, 1.4 where they have nothing in common.
Patches that are all near some patch of the bank may still make up another image (a black board is all background);
their mean tells. The bound follows the spread of the support itself, as `pipeline.calibration` does for scores:

    bound = 2.3 * sqrt(1 + 3/K) * spread,    spread^2 = ((K - 1) * LOO^2 + n0 * prior^2) / (K - 1 + n0)

with LOO the root mean square of the K good images' distances to the nearest other one, n0 = 4 the weight of the prior
0.2. The constants are of thirteen real lines (`benchmarks/unlike.md`), seen by EfficientNet-Lite0.

Shape letters: B images, R references, K good images, C channels of a level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.episodes import SupportSet, TensorLevels

_FACTOR, _FEW = 2.3, 3.0
_PRIOR, _PRIOR_COUNT = 0.2, 4


def pooled_features(levels: TensorLevels) -> list[Tensor]:
    """Each level's mean over the image, of length 1 (B, C)."""
    return [F.normalize(level.mean((2, 3)), dim=1) for level in levels]


def references_of(support: SupportSet) -> list[Tensor]:
    """Pooled features (R, C) a level of all that is known to be of the line: good images, their views, real defects."""
    return pooled_features(
        tuple(
            torch.cat([good, augmented.flatten(0, 1), defects])
            for good, augmented, defects in zip(support.good, support.augmented, support.defects, strict=True)
        )
    )


def distances(pooled: Sequence[Tensor], references: Sequence[Tensor]) -> Tensor:
    """Of B images to R references (B, R)."""
    cosines = [one @ other.T for one, other in zip(pooled, references, strict=True)]
    return (2 - 2 * torch.stack(cosines).mean(0)).clamp_min(0).sqrt()


def distance_bound(support: SupportSet) -> float:
    """How far an image of the line may lie from the nearest reference."""
    good, k = pooled_features(support.good), support.k
    spread = _PRIOR**2
    if k > 1:
        nearest = distances(good, good).fill_diagonal_(math.inf).amin(1)
        spread = ((k - 1) * float(nearest.square().mean()) + _PRIOR_COUNT * spread) / (k - 1 + _PRIOR_COUNT)
    return _FACTOR * math.sqrt(1 + _FEW / k) * math.sqrt(spread)
