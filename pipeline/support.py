"""From image files to support sets and query sets.

Everything random here (which synthetic defects, which patches of further images) comes from one seed, and every
feature is asked for under a key that names exactly what was computed, so that a cache can answer.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augmentations import AUGMENTATIONS, FLIPS, ROTATIONS
from pipeline.cell_grid import CellGrid
from pipeline.episodes import QuerySet, SupportSet, TensorLevels, UnlabelledSet
from pipeline.errors import LineError
from pipeline.feature_store import FeatureKey, ImageLoader
from pipeline.features import FeatureExtractor, Levels
from pipeline.imaging.images import PreprocessSpec, read_size, require_image
from pipeline.imaging.masks import read_mask
from pipeline.imaging.placement import align_mask
from pipeline.patch_samples import HELD, ViewNumber, batches, sample_patches, turned_views
from pipeline.product_lines.lines import ImageRecord
from pipeline.region_cells import region_of_views
from pipeline.region_of_interest import RegionOfInterest
from pipeline.storage import sha256_file
from pipeline.synthetic.defects import estimate_foreground, paint_defect
from pipeline.synthetic.jitter import photometric_jitter
from pipeline.tile_grid import TileGrid

Pixels = NDArray[np.uint8]
Decode = Callable[[ImageRecord], Pixels]
Item = tuple[FeatureKey, ImageLoader]


class FeatureSource(Protocol):
    """Where features come from: the cache on disk (`FeatureStore`), or the backbone itself (`DirectFeatures`)."""

    def features(self, items: Sequence[Item]) -> Levels:
        """Features of all items in their order, level l as float32 (N, C_l, h_l, w_l)."""
        ...


class DirectFeatures:
    """Features straight from the backbone, in full float32 precision: for adaptation, where nothing is asked twice."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor

    def features(self, items: Sequence[Item]) -> Levels:
        """See `FeatureSource`."""
        levels: Levels = []
        for index, (_, loader) in enumerate(items):
            part = self._extractor.extract(loader()[None])
            levels = levels or [np.empty((len(items), *level.shape[1:]), level.dtype) for level in part]
            for level, of_image in zip(levels, part, strict=True):
                level[index] = of_image[0]
        return levels


_ENOUGH = 12  # good images from which on flips are not needed
_DECODED = 64  # images that stay decoded for their views and defects

PAINTER_VERSION = 2
"""Part of the cache key of synthetic defects: raise it when `paint_defect` draws differently for equal seeds."""


@dataclass(frozen=True, kw_only=True)
class SupportConfig:
    """How a support set is enriched: augmentations, and how many synthetic defects (spread over the good images)."""

    augmentations: tuple[str, ...] = FLIPS
    synthetic: int = 8

    def for_count(self, good: int) -> SupportConfig:
        """What of it a support of so many good images needs.

        Flips stand in for images that are missing. From 12 on they change nothing (13 real lines, 16 and 60 images,
        with and without) and cost three quarters of the time; only parts at any angle keep their rotations.
        """
        if good < _ENOUGH:
            return self
        any_angle = any(name not in FLIPS for name in self.augmentations)
        return replace(self, augmentations=tuple(n for n in self.augmentations if any_angle and n in ROTATIONS))


def build_support(
    good: Sequence[ImageRecord],
    defects: Sequence[ImageRecord],
    source: FeatureSource,
    preprocess: PreprocessSpec,
    config: SupportConfig,
    *,
    seed: int,
    held: int = HELD,
    region: RegionOfInterest | None = None,
    tiles: TileGrid | None = None,
    on_decoded: Callable[[], None] = lambda: None,
) -> SupportSet:
    """The support set of these images.

    Args:
        good: those to hold in full first, see `held_first`; the others leave a sample of their patches.
        defects: all of them are held in full.
        source: of their features.
        preprocess: how they are decoded.
        config: of their views; see `SupportConfig.for_count`.
        seed: of the synthetic defects and of the sample.
        held: how many good images are held in full, at most.
        region: of the images that is looked at: synthetic defects begin there; None: all of them.
        tiles: that the source sees images as, of a line with a region those that show some of it; None: whole.
        on_decoded: called for each image that is read.

    Raises:
        LineError: no good image.
        ImageError: a support image or mask cannot be used.
    """
    if not good:
        raise LineError("at least one good image", "none", "put good parts into the folder's good/ directory")
    names = config.for_count(len(good)).augmentations
    in_full = good[:held]
    T = 1 if tiles is None else tiles.count
    K, A, N = len(in_full), len(names) if len(good) < _ENOUGH else 0, config.synthetic
    decode = _decoder(preprocess, on_decoded, decoded=max(1, _DECODED // T))
    painted = [_painted(in_full[i % K], preprocess, seed * 1000 + i, decode, region) for i in range(N)]
    groups: list[list[Item]] = [
        [_plain(record, preprocess, decode) for record in in_full],
        [_augmented(record, preprocess, name, decode) for record in in_full for name in names[:A]],
        [item for item, _ in painted],
        [_plain(record, preprocess, decode) for record in defects],
    ]
    levels = source.features(list(itertools.chain.from_iterable(groups)))
    ends = list(itertools.accumulate((len(group) for group in groups), initial=0))
    parts = [tuple(torch.from_numpy(level[start:stop]) for level in levels) for start, stop in itertools.pairwise(ends)]
    grid = CellGrid((levels[0].shape[-2], levels[0].shape[-1]), tiles)
    masks, has_mask = _masks(defects, preprocess, grid)
    looked_at = None
    if region is not None:
        looked_at = region_of_views(region, (preprocess.height, preprocess.width), names, grid)
    further = [(image, -1) for image in range(K, len(good))] + ([] if A else turned_views(len(good), len(names)))

    def sampled() -> Iterator[tuple[Sequence[ViewNumber], TensorLevels]]:
        for numbers in batches(sorted(further)):
            items = [
                _plain(good[image], preprocess, decode)
                if view < 0
                else _augmented(good[image], preprocess, names[view], decode)
                for image, view in numbers
            ]
            yield numbers, tuple(torch.from_numpy(level) for level in source.features(items))

    return SupportSet(
        good=parts[0],
        augmented=tuple(level.reshape(K, A, *level.shape[1:]) for level in parts[1]),
        synthetic=parts[2],
        synthetic_masks=grid.of_all([mask for _, mask in painted]),
        synthetic_parents=torch.arange(N) % K,
        defects=parts[3],
        defect_masks=masks,
        has_mask=has_mask,
        further=sample_patches(sampled(), len(further), seed=seed, looked_at=looked_at, tiles=T) if further else None,
        looked_at=looked_at,
        tiles=T,
    )


def build_unlabelled(
    records: Sequence[ImageRecord],
    source: FeatureSource,
    preprocess: PreprocessSpec,
    names: Sequence[str],
) -> UnlabelledSet:
    """The unlabelled images of a line, with the augmentations `names` of each.

    Raises:
        ImageError: an image cannot be used.
    """
    decode = _decoder(preprocess, lambda: None)
    levels = source.features([_plain(record, preprocess, decode) for record in records])
    turned = [_augmented(record, preprocess, name, decode) for record in records for name in names]
    U, A = len(records), len(names)
    views = source.features(turned) if turned else [level[:0] for level in levels]
    return UnlabelledSet(
        levels=tuple(torch.from_numpy(level) for level in levels),
        augmented=tuple(torch.from_numpy(level).reshape(U, A, *level.shape[1:]) for level in views),
    )


def build_query(records: Sequence[ImageRecord], source: FeatureSource, preprocess: PreprocessSpec) -> QuerySet:
    """The query set of these images."""
    levels = source.features(
        [_plain(record, preprocess, partial(_pixels, preprocess=preprocess)) for record in records]
    )
    masks, has_mask = _masks(records, preprocess, CellGrid((levels[0].shape[-2], levels[0].shape[-1])))
    return QuerySet(
        levels=tuple(torch.from_numpy(level) for level in levels),
        labels=torch.tensor([record.is_defect for record in records], dtype=torch.bool),
        masks=masks,
        has_mask=has_mask,
    )


def read_defect_mask(record: ImageRecord) -> NDArray[np.bool_] | None:
    """The record's mask (h, w) at its file's own size, None where it has none. Raises `ImageError`."""
    if record.mask_path is None:
        return None
    mask = read_mask(record.mask_path, read_size(record.path))
    return mask if record.shift is None else record.shift.apply_mask(mask)


def _decoder(preprocess: PreprocessSpec, on_decoded: Callable[[], None], decoded: int = _DECODED) -> Decode:
    """Decodes an image when its pixels are first asked for, and keeps them for its augmentations and defects."""

    @lru_cache(maxsize=decoded)
    def decode(record: ImageRecord) -> Pixels:
        pixels = _pixels(record, preprocess=preprocess)
        on_decoded()
        return pixels

    return decode


def _plain(record: ImageRecord, preprocess: PreprocessSpec, decode: Decode) -> Item:
    return _key(record, preprocess, "plain"), lambda: decode(record)


def _augmented(record: ImageRecord, preprocess: PreprocessSpec, name: str, decode: Decode) -> Item:
    return _key(record, preprocess, name), lambda: np.ascontiguousarray(AUGMENTATIONS[name](decode(record)))


def _painted(
    record: ImageRecord, preprocess: PreprocessSpec, seed: int, decode: Decode, region: RegionOfInterest | None
) -> tuple[Item, NDArray[np.bool_]]:
    """A synthetic defect on a good image, and its mask. Pasted material comes from the image in another light."""
    good, rng = decode(record), np.random.default_rng(seed)
    drawn, product = f"synthetic:{PAINTER_VERSION}:{seed}", None
    if region is not None:
        inside = region.at(*good.shape[:2])
        product = estimate_foreground(good) & (inside > 127)
        product = product if product.any() else inside > 127
        drawn = f"{drawn}:{hashlib.sha256(inside.tobytes()).hexdigest()}"
    image, mask, _ = paint_defect(good, rng, foreground=product, donor=photometric_jitter(good, rng))
    return (_key(record, preprocess, drawn), lambda: image), mask


def _pixels(record: ImageRecord, preprocess: PreprocessSpec) -> Pixels:
    image = require_image(record.path, _of_its_camera(record, preprocess))
    return image.pixels if record.shift is None else record.shift.apply(image.pixels, image.sha256)


def _key(record: ImageRecord, preprocess: PreprocessSpec, transform: str) -> FeatureKey:
    seen = transform if record.shift is None else f"{record.shift.key} {transform}"
    return FeatureKey(_hash(record.path), _of_its_camera(record, preprocess), seen)


def _of_its_camera(record: ImageRecord, preprocess: PreprocessSpec) -> PreprocessSpec:
    level, bayer = record.white_level, record.bayer
    if level is None and bayer is None:
        return preprocess
    return replace(preprocess, white_level=level or preprocess.white_level, bayer=bayer or preprocess.bayer)


def _masks(records: Sequence[ImageRecord], seen: PreprocessSpec, grid: CellGrid) -> tuple[Tensor, Tensor]:
    """Defect fractions (B, H, W) and which are known (B,): a good image's empty mask is."""
    masks = grid.of_all([_seen_mask(record, seen) for record in records])
    known = [not record.is_defect or record.mask_path is not None for record in records]
    return masks, torch.tensor(known, dtype=torch.bool)


def _seen_mask(record: ImageRecord, preprocess: PreprocessSpec) -> NDArray[np.bool_] | None:
    if (mask := read_defect_mask(record)) is None or preprocess.alignment is None:
        return mask
    return align_mask(mask, require_image(record.path, _of_its_camera(record, preprocess)).placement)


def _hash(path: Path) -> str:
    status = path.stat()
    return _hash_of((path, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=65536)
def _hash_of(state: tuple[Path, int, int]) -> str:
    return sha256_file(state[0])
