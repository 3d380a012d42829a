"""How far an image as a whole lies from a support: what of its pooled features the support's do not span.

A level's features are averaged over the image and brought to length 1, and so are those of the support's good images,
of the views made of them and of a 4 x 4 grid of each. The few directions that hold 97 % of the latter are the line's:
an image with more of this and less of that lies between them, another product or a blurred image beside them. The
distance is the root of the mean, over levels, of the square of what is left, from 0 to 1. Nearest patches do not tell
that: a black board is all background, and each of its patches is known.

The bound follows the spread of the support itself, as `pipeline.calibration` does for scores:

    bound = 2.8 * spread,    spread^2 = ((K - 1) * LOO^2 + n0 * prior^2) / (K - 1 + n0)
    prior = 0.125 * sqrt(1 + 3/K)

with LOO the root mean square of the good images' distances, each from the others, and n0 = 8 the weight of the prior;
and none of the support's own defects lies beyond it. The constants are of thirteen real lines seen by
EfficientNet-Lite0: at most 0.3 % of their good images lie beyond (`benchmarks/unlike.md`).

Good images are those that the support holds in full, unlabelled ones that it took up among them: single patches of
further ones say nothing of an image as a whole.

Of images that are seen as tiles, the distance is the mean of the tiles'.

Shape letters: B images, K good images, n averages of an image and its views, C channels of a level, R directions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.episodes import SupportSet, TensorLevels

_GRID, _HELD, _MOST_DIRECTIONS = 4, 0.97, 8
_FACTOR = 2.8
_PRIOR, _FEW, _PRIOR_COUNT = 0.125, 3, 8


def directions_of(support: SupportSet) -> list[Tensor]:
    """The directions (C, R) of each level, orthonormal."""
    return [_directions(_gram(seen.flatten(0, 1))).to(seen.dtype) for seen in _seen(support)]


def _seen(support: SupportSet) -> list[Tensor]:
    """Of each level and good image, averages over itself, its views and their cells, of length 1: (K, n, C)."""
    return [
        torch.cat([_averages(view, support.tiles) for view in (good[:, None], augmented)], 1)
        for good, augmented in zip(support.good, support.augmented, strict=True)
    ]


def _averages(views: Tensor, tiles: int) -> Tensor:
    """Of views (K, A, C, h, w), their averages (K, n, C)."""
    level = _each_tile(views.flatten(0, 1), tiles)
    cells = F.adaptive_avg_pool2d(level, _GRID).flatten(2).transpose(1, 2)
    seen = F.normalize(torch.cat([cells, level.mean((2, 3))[:, None]], 1), dim=2)
    return seen.reshape(len(views), -1, views.shape[2])


def _gram(seen: Tensor) -> Tensor:
    return seen.double().T @ seen.double()


def _directions(gram: Tensor) -> Tensor:
    strength, vectors = torch.linalg.eigh(gram)  # ascending
    held = strength.flip(0).cumsum(0) / strength.sum()
    count = min(_MOST_DIRECTIONS, int((held < _HELD).sum()) + 1)
    return vectors.flip(1)[:, :count]


def distances(levels: TensorLevels, directions: Sequence[Tensor], tiles: int = 1) -> Tensor:
    """Of B images (B,), each seen as so many tiles."""
    pooled = [F.normalize(_each_tile(level, tiles).mean((2, 3)), dim=1) for level in levels]
    known = [(one @ axes).square().sum(1) for one, axes in zip(pooled, directions, strict=True)]
    each = (1 - torch.stack(known).mean(0)).clamp_min(0).sqrt()
    return each if tiles == 1 else each.reshape(-1, tiles).mean(1)


def _each_tile(level: Tensor, tiles: int) -> Tensor:
    """(B, C, T * h, w) to (B * T, C, h, w)."""
    return level if tiles == 1 else level.unflatten(2, (tiles, -1)).transpose(1, 2).flatten(0, 1)


def distance_bound(support: SupportSet) -> float:
    """How far an image of the line may lie from the support."""
    k = support.k
    square = (_PRIOR**2) * (1 + _FEW / k)
    if k > 1:
        square = ((k - 1) * float(_alone(support).square().mean()) + _PRIOR_COUNT * square) / (k - 1 + _PRIOR_COUNT)
    of_defects = distances(support.defects, directions_of(support), support.tiles).tolist()
    return max(_FACTOR * math.sqrt(square), *of_defects, 0.0)


def _alone(support: SupportSet) -> Tensor:
    """Of each good image from all others (K,)."""
    seen = _seen(support)
    grams = [_gram(level.flatten(0, 1)) for level in seen]
    found = []
    for i in range(support.k):
        levels = tuple(level[i : i + 1] for level in support.good)
        others = [_directions(gram - _gram(level[i])).to(level.dtype) for gram, level in zip(grams, seen, strict=True)]
        found.append(distances(levels, others, support.tiles))
    return torch.cat(found)
