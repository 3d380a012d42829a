"""Memory bank of normal patches, and nearest-neighbour search in it.

Shape letters: B images, C channels of a level, h x w its grid, P = h * w patches, N bank rows, G groups of the level,
K good support images, A augmentations.

In the spirit of PatchCore (Roth et al., CVPR 2022): a patch is as anomalous as it is far from every patch seen on good
parts. Two things differ. Distances are taken per group of channels (one network layer each), so that each layer can be
scaled by the support's own leave-one-out distances before they are fused. And every bank row remembers the image it
came from, so that a good image can be scored against the others' rows only. And distances fade towards the image
border, see `border_weight`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.episodes import SupportSet

_FAR = 1e9
_BLOCK = 64
_TILE = 256  # patches that are compared at once: their distances to 2048 rows, 2 MB, stay in a core's cache
_CANDIDATES = 8  # rows a coreset looks at for each that it keeps
_BORDER = 8  # the border strip is this part of the image's side wide: 32 px of 256
AT_BORDER = 0.5
"""What distances at the image border count for, against 1 inside."""


@dataclass(frozen=True)
class BankMatch:
    """Nearest neighbours of a level's patches: `distances` (B, G, h, w), root mean square over the group's channels;
    `rows` (B, G, P) int64 bank rows; `residuals` (B, C, h, w), patch minus matched row. Both times `border_weight`.
    """

    distances: Tensor
    rows: Tensor
    residuals: Tensor


def border_weight(h: int, w: int, at_border: float = AT_BORDER) -> Tensor:
    """What distances are multiplied by (h, w): `at_border` at the image border, rising to 1 over an eighth of the side.

    A patch near the border is half made of the network's zero padding and of whatever the frame happened to cut, so
    that good parts differ most there. Without this weight a few border cells decide the image score: measured on 13
    real lines with 4 good images, it lifts the mean image AUROC from 79 to 86 (`benchmarks/memory_bank.md`).
    """

    def ramp(cells: int) -> Tensor:
        nearest = torch.minimum(torch.arange(cells), torch.arange(cells).flip(0)) + 0.5
        return at_border + (1 - at_border) * (nearest * _BORDER / cells).clamp(max=1.0)

    return torch.minimum(ramp(h)[:, None], ramp(w)[None])


class MemoryBank(nn.Module):
    """The normal patches of one feature level.

    Args:
        vectors: (N, C) float32.
        sources: (N, 4) int64: good image, augmentation (-1: none), grid row, grid column.
        groups: (start, stop) channel ranges, one per network layer.
        at_border: see `border_weight`; 1 leaves distances as they are.
        tile_rows: of the level's grid, or of one tile's where tiles stand below one another; None: as many as come.
    """

    vectors: Tensor
    sources: Tensor

    def __init__(
        self,
        vectors: Tensor,
        sources: Tensor,
        groups: tuple[tuple[int, int], ...],
        *,
        at_border: float = AT_BORDER,
        tile_rows: int | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)
        self.register_buffer("sources", sources)
        self.groups = groups
        self.at_border = at_border
        self.tile_rows = tile_rows
        missing = -len(vectors) % _BLOCK
        for index, (start, stop) in enumerate(groups):
            rows = vectors[:, start:stop]
            columns = F.pad(rows.t() * -2.0, (0, missing))
            squares = F.pad(rows.square().sum(1), (0, missing), value=_FAR)
            self.register_buffer(f"columns_{index}", torch.cat([columns, squares[None]]).contiguous())

    def forward(self, level_BChw: Tensor, excluded_BN: Tensor | None = None) -> BankMatch:
        """Match every patch of `level_BChw` (B, C, h, w).

        `excluded_BN` bool leaves rows out per batch item, for leave-one-out; it is not part of the exported graph.
        """
        B, _, h, w = level_BChw.shape
        patches = level_BChw.flatten(2).transpose(1, 2)  # (B, P, C)
        border = border_weight(self.tile_rows or h, w, self.at_border)
        if len(border) < h:
            border = border.repeat(h // len(border), 1)
        distances, rows, residuals = [], [], []
        for index, (start, stop) in enumerate(self.groups):
            query = patches[..., start:stop]
            row = self._nearest(query, index, excluded_BN)
            residual = query - self.vectors[:, start:stop][row]
            distances.append(residual.square().mean(-1).clamp_min(1e-6).sqrt())
            rows.append(row)
            residuals.append(residual)
        return BankMatch(
            torch.stack(distances, 1).reshape(B, len(self.groups), h, w) * border,
            torch.stack(rows, 1),
            torch.cat(residuals, -1).transpose(1, 2).reshape(B, -1, h, w) * border,
        )

    def _nearest(self, query_BPC: Tensor, group: int, excluded_BN: Tensor | None) -> Tensor:
        """The row nearest to each patch (B, P)."""
        columns: Tensor = getattr(self, f"columns_{group}")
        far = None
        if excluded_BN is not None:
            far = F.pad(excluded_BN.float() * _FAR, (0, columns.shape[1] - excluded_BN.shape[1]))[:, None]
        # |q - b|^2 less the |q|^2 that no row changes, as (q, 1) @ (-2 b, |b|^2): only the order matters, the distance
        # is taken exactly afterwards. For 1024 patches and 2048 rows, tiles and one product take 1.6 instead of 2.4 ms.
        query = torch.cat([query_BPC, torch.ones_like(query_BPC[..., :1])], 2)
        rows = []
        for tile in query.split(_TILE, 1):
            order = tile @ columns  # (B, at most 256, N)
            rows.append(_argmin_in_blocks(order if far is None else order + far))
        return torch.cat(rows, 1)


def _argmin_in_blocks(values_BPN: Tensor) -> Tensor:
    """Place of each last axis's smallest value (B, P).

    Blocks first: an argmin over thousands of columns is slow on a CPU, in torch (18 against 8 ms for 1024 x 4096) and
    in onnxruntime (15 against 10 ms).
    """
    B, P, N = values_BPN.shape
    blocks = values_BPN.reshape(B * P, N // _BLOCK, _BLOCK)
    block = blocks.amin(2).argmin(1)
    first = torch.arange(B * P, device=block.device) * (N // _BLOCK)
    inside = blocks.reshape(-1, _BLOCK)[first + block].argmin(1)
    return (block * _BLOCK + inside).reshape(B, P)


def build_banks(
    support: SupportSet,
    groups: tuple[tuple[tuple[int, int], ...], ...],
    *,
    budget: int,
    seed: int,
    chosen: Sequence[Tensor] | None = None,
    at_border: float = AT_BORDER,
    tokens: Collection[int] = (),
) -> tuple[MemoryBank, ...]:
    """One bank per level from a support's good images and their augmentations.

    Views that only left a sample of their patches count like those that are held in full: of the candidates that a
    coreset looks at, each view has about as many.

    Args:
        support: K good images and A augmentations of each, and a sample of further ones.
        groups: per level, its groups' channel ranges.
        budget: most rows per bank; more candidates are thinned to it by `coreset`.
        seed: of the coreset's projection and start.
        chosen: per level, the sources (n, 4) of the rows to keep, instead of a coreset.
        at_border: see `border_weight`.
        tokens: levels whose cells have all seen the whole image, and count the same at its border.
    """
    banks = []
    for level, level_groups in enumerate(groups):
        vectors, sources = _held_patches(support, level)
        further = support.further
        if further is not None:
            rows = torch.arange(len(vectors)), torch.arange(len(further.vectors[level]))
            if chosen is None:
                held_views = support.augmented[level].shape[:2]
                views = held_views[0] * (1 + held_views[1]), further.views
                rows = _alike((len(rows[0]), len(rows[1])), views, most=_CANDIDATES * budget, seed=seed)
            vectors = torch.cat([vectors[rows[0]], further.vectors[level][rows[1]]])
            sources = torch.cat([sources[rows[0]], further.sources[level][rows[1]]])
        if chosen is not None:
            keep = _places(chosen[level], sources)
            vectors, sources = vectors[keep], sources[keep]
        elif len(vectors) > budget:
            keep = coreset(vectors, budget, seed=seed)
            vectors, sources = vectors[keep], sources[keep]
        border = 1.0 if level in tokens else at_border
        tile_rows = support.good[level].shape[-2] // support.tiles
        banks.append(MemoryBank(vectors.contiguous(), sources, level_groups, at_border=border, tile_rows=tile_rows))
    return tuple(banks)


def _held_patches(support: SupportSet, level: int) -> tuple[Tensor, Tensor]:
    """All patches of the views that are held in full (n, C), and their sources (n, 4)."""
    good, augmented = support.good[level], support.augmented[level]
    candidates = torch.cat([good[:, None], augmented], 1)  # (K, 1 + A, C, h, w)
    K, views, C, h, w = candidates.shape
    vectors = candidates.permute(0, 1, 3, 4, 2).reshape(-1, C)
    axes = [torch.arange(K), torch.arange(-1, views - 1), torch.arange(h), torch.arange(w)]
    return vectors, torch.cartesian_prod(*axes)


def _alike(patches: tuple[int, int], views: tuple[int, int], *, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random rows of the patches in full and of the sampled ones, at most so many in sum and in the views' ratio."""
    share = views[1] / sum(views)
    total = min(most, int(patches[0] / (1 - share)), int(patches[1] / share))
    of_sample = round(total * share)
    generator = torch.Generator().manual_seed(seed)
    held = torch.randperm(patches[0], generator=generator)[: total - of_sample].sort().values
    return held, torch.randperm(patches[1], generator=generator)[:of_sample].sort().values


def _places(wanted_n4: Tensor, sources_N4: Tensor) -> Tensor:
    """The rows of `sources_N4` that the wanted ones are (n,); every one of them is among them, once."""
    sides = sources_N4.amax(0) + 2  # an augmentation counts from -1

    def keys(sources: Tensor) -> Tensor:
        image, augmentation, row, column = sources.unbind(1)
        return ((image * sides[1] + augmentation + 1) * sides[2] + row) * sides[3] + column

    known, order = keys(sources_N4).sort()
    return order[torch.searchsorted(known, keys(wanted_n4))]


def coreset(vectors_NC: Tensor, size: int, *, seed: int, projection: int = 16) -> Tensor:
    """Greedy k-centre selection (Sener & Savarese, ICLR 2018; as PatchCore uses it) on a random projection.

    Returns (size,) int64 row indices, ascending: each next row is the one farthest from all rows chosen before, so the
    farthest any candidate is from the coreset stays near the smallest possible (within a factor 2 in the projection).
    Of more than 8 rows for each one to choose, a random 8 for each are looked at: the time grows with their number.
    """
    generator = torch.Generator().manual_seed(seed)
    if len(vectors_NC) > _CANDIDATES * size:
        rows = torch.randperm(len(vectors_NC), generator=generator)[: _CANDIDATES * size].sort().values
        return rows[coreset(vectors_NC[rows], size, seed=seed, projection=projection)]
    C = vectors_NC.shape[1]
    points = (vectors_NC @ (torch.randn(C, min(projection, C), generator=generator) / projection**0.5)).numpy()
    current = int(torch.randint(len(points), (1,), generator=generator))
    # numpy: its thousands of small steps take a third of torch's time. A product of (p, |p|^2, 1) and (-2 c, 1, |c|^2)
    # is the squared distance from candidate p to row c.
    squares = np.square(points).sum(1, keepdims=True)
    ones = np.ones_like(squares)
    candidates, as_row = np.hstack([points, squares, ones]), np.hstack([-2 * points, ones, squares])
    distance, nearest = np.empty(len(points), np.float32), np.full(len(points), np.inf, np.float32)
    chosen = np.empty(size, np.int64)
    for index in range(size):
        chosen[index] = current
        np.dot(candidates, as_row[current], out=distance)
        np.minimum(nearest, distance, out=nearest)
        nearest[current] = -1.0
        current = int(nearest.argmax())
    return torch.from_numpy(np.sort(chosen))
