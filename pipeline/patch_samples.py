"""Images that a support does not hold in full: which they are, and the few patches that each of them leaves.

However many good images there are, a support holds so many in full, and of all others together about so many patches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from pipeline.episodes import PatchSample, SupportSet, TensorLevels
from pipeline.region_cells import cells_inside

HELD = 128
"""Good images in full: enough for leave-one-out scores to show a 1 % tail, 144 MB of features at 512 px."""
ROWS = 8 * 2048
"""Patches a level of all others together: as many as a coreset of 2048 rows looks at."""
_BATCH = 16
_TURNED = 176  # turned views of all good images: what 16 of them have

ViewNumber = tuple[int, int]
"""Good image, and augmentation (-1: none)."""
_T = TypeVar("_T")


def held_first(records: Sequence[_T], held: int, seed: int) -> list[_T]:
    """The records, first those to hold in full: all in their order where there are no more, else drawn by the seed."""
    if len(records) <= held:
        return list(records)
    drawn = np.random.default_rng(seed).permutation(len(records))
    return [records[i] for part in (drawn[:held], drawn[held:]) for i in sorted(part)]


def batches(items: Sequence[_T]) -> list[Sequence[_T]]:
    """The items, a few at a time: what is extracted before it is sampled stays small."""
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


def turned_views(good: int, angles: int) -> list[ViewNumber]:
    """Turned views of the good images: all of them or, where these are too many, some spread over images and angles."""
    count = min(_TURNED, good * angles)
    return [(index * good // count, index % angles) for index in range(count)]


def sample_patches(
    parts: Iterable[tuple[Sequence[ViewNumber], TensorLevels]],
    views: int,
    *,
    seed: int,
    rows: int = ROWS,
    looked_at: torch.Tensor | None = None,
    tiles: int = 1,
) -> PatchSample:
    """A random sample of patches, as many of each view that shows so many.

    Args:
        parts: a few views at a time, and their levels (B, C, h, w).
        views: how many views there are in all parts, at least 1.
        seed: of the draw.
        rows: about how many patches a level are wanted; at least one of each view, and no more than it has.
        looked_at: (1 + A, H, W) bool as in `SupportSet`, outside of which no patch is taken; None: everywhere.
        tiles: that an image is seen as, as in `SupportSet`.
    """
    generator = torch.Generator().manual_seed(seed)
    each = -(-rows // views)
    found: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = []
    for numbers, levels in parts:
        for view, (image, augmentation) in enumerate(numbers):
            vectors, sources = [], []
            for level in levels:
                height, width = level.shape[-2:]
                if looked_at is None:
                    places = torch.arange(height * width)
                else:
                    inside = cells_inside(looked_at[1 + augmentation], (height, width), tiles)
                    places = inside.flatten().nonzero()[:, 0]
                cells = places[torch.randperm(len(places), generator=generator)[:each].sort().values]
                vectors.append(level[view].flatten(1)[:, cells].t().contiguous())
                origin = torch.tensor([image, augmentation]).expand(len(cells), 2)
                sources.append(torch.cat([origin, torch.stack([cells // width, cells % width], 1)], 1))
            found.append((vectors, sources))
    of_vectors, of_sources = zip(*found, strict=True)
    return PatchSample(
        vectors=tuple(torch.cat(level) for level in zip(*of_vectors, strict=True)),
        sources=tuple(torch.cat(level) for level in zip(*of_sources, strict=True)),
    )


def fewer_in_full(support: SupportSet, held: int, *, seed: int) -> SupportSet:
    """The support with at most `held` good images in full; the others leave patches, as many of a view as further ones.

    What costs by the image, such as an inner loop, is bounded by it, while a bank still knows all images. Synthetic
    defects painted on the others are left out.
    """
    if support.k <= held:
        return support
    further, moved = support.further, support.k - held
    each = ROWS // moved if further is None else len(further.vectors[0]) // further.views
    views = [(image, -1) for image in range(held, support.k)]
    sample = sample_patches(
        [(views, tuple(level[held:] for level in support.good))], moved, seed=seed, rows=moved * max(1, each)
    )
    if further is not None:
        sample = PatchSample(
            vectors=tuple(map(torch.cat, zip(sample.vectors, further.vectors, strict=True))),
            sources=tuple(map(torch.cat, zip(sample.sources, further.sources, strict=True))),
        )
    on_held = support.synthetic_parents < held
    return replace(
        support,
        good=tuple(level[:held] for level in support.good),
        augmented=tuple(level[:held] for level in support.augmented),
        synthetic=tuple(level[on_held] for level in support.synthetic),
        synthetic_masks=support.synthetic_masks[on_held],
        synthetic_parents=support.synthetic_parents[on_held],
        further=sample,
    )
