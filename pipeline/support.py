"""From image files to support sets, query sets and episodes.

Everything random here (which images, which augmentations, which synthetic defects) comes from one seed, and every
feature is asked for under a key that names exactly what was computed, so that a cache can answer.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augmentations import AUGMENTATIONS, FLIPS
from pipeline.episodes import Episode, QuerySet, SupportSet
from pipeline.errors import LineError
from pipeline.feature_store import FeatureKey, ImageLoader
from pipeline.features import FeatureExtractor, Levels
from pipeline.imaging.images import PreprocessSpec, read_size, require_image
from pipeline.imaging.masks import read_mask
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.storage import sha256_file
from pipeline.synthetic.defects import paint_defect
from pipeline.synthetic.jitter import photometric_jitter

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
        parts = [self._extractor.extract(loader()[None]) for _, loader in items]
        return [np.concatenate(level) for level in zip(*parts, strict=True)]


PAINTER_VERSION = 2
"""Part of the cache key of synthetic defects: raise it when `paint_defect` draws differently for equal seeds."""


@dataclass(frozen=True, kw_only=True)
class SupportConfig:
    """How a support set is enriched: augmentations, and how many synthetic defects (spread over the good images)."""

    augmentations: tuple[str, ...] = FLIPS
    synthetic: int = 8


def build_support(
    good: Sequence[ImageRecord],
    defects: Sequence[ImageRecord],
    source: FeatureSource,
    preprocess: PreprocessSpec,
    config: SupportConfig,
    *,
    seed: int,
) -> SupportSet:
    """The support set of these images.

    Raises:
        LineError: no good image.
        ImageError: a support image or mask cannot be used.
    """
    if not good:
        raise LineError("at least one good image", "none", "put good parts into the folder's good/ directory")
    decode = _decoder(preprocess)
    painted = [_painted(good[i % len(good)], preprocess, seed * 1000 + i, decode) for i in range(config.synthetic)]
    groups: list[list[Item]] = [
        [_plain(record, preprocess, decode) for record in good],
        [_augmented(record, preprocess, name, decode) for record in good for name in config.augmentations],
        [item for item, _ in painted],
        [_plain(record, preprocess, decode) for record in defects],
    ]
    levels = source.features(list(itertools.chain.from_iterable(groups)))
    ends = list(itertools.accumulate((len(group) for group in groups), initial=0))
    parts = [tuple(torch.from_numpy(level[start:stop]) for level in levels) for start, stop in itertools.pairwise(ends)]
    grid = (levels[0].shape[-2], levels[0].shape[-1])
    masks, has_mask = _masks(defects, grid)
    K, A, N = len(good), len(config.augmentations), config.synthetic
    return SupportSet(
        good=parts[0],
        augmented=tuple(level.reshape(K, A, *level.shape[1:]) for level in parts[1]),
        synthetic=parts[2],
        synthetic_masks=_stack([_fractions(mask, grid) for _, mask in painted], grid),
        synthetic_parents=torch.arange(N) % K,
        defects=parts[3],
        defect_masks=masks,
        has_mask=has_mask,
    )


def build_query(records: Sequence[ImageRecord], source: FeatureSource, preprocess: PreprocessSpec) -> QuerySet:
    """The query set of these images."""
    levels = source.features(
        [_plain(record, preprocess, partial(_pixels, preprocess=preprocess)) for record in records]
    )
    masks, has_mask = _masks(records, (levels[0].shape[-2], levels[0].shape[-1]))
    return QuerySet(
        levels=tuple(torch.from_numpy(level) for level in levels),
        labels=torch.tensor([record.is_defect for record in records], dtype=torch.bool),
        masks=masks,
        has_mask=has_mask,
    )


@dataclass(frozen=True)
class EpisodeImages:
    """Which images an episode uses; the query holds none of the support."""

    good: tuple[ImageRecord, ...]
    defects: tuple[ImageRecord, ...]
    query: tuple[ImageRecord, ...]


def sample_images(
    line: ProductLine,
    *,
    good: int,
    defects: int,
    query: int,
    seed: int,
    spare_good: bool = True,
) -> EpisodeImages:
    """Draw an episode's images.

    Args:
        line: to draw from.
        good: good support images, from `train/good`.
        defects: defective ones.
        query: images of the query set, half good and half defective where there are enough.
        seed: of the draw.
        spare_good: whether good images that the support left over may join the query's; where there is no `test/good`
            they do in any case.

    With fewer images than asked for the draw shrinks: at least one defect stays for the query, and good query images
    come from `test/good`, then from what the support left of `train/good`.

    Raises:
        LineError: no good image, or none left for the query.
    """
    pool = list(line.train_good)
    random.Random(seed).shuffle(pool)  # noqa: S311 (other tools repeat this draw from the file names)
    rng = np.random.default_rng(seed)
    if len(pool) + len(line.test_good) < 2:
        raise LineError(f"two good images in {line.root}", str(len(pool)), "add good images to make episodes from")
    keep_one = 1 if not line.test_good else 0
    support_good = pool[: min(good, len(pool) - keep_one)]
    defective = [line.defects[i] for i in rng.permutation(len(line.defects))]
    held = max(0, min(defects, len(defective) - 1))
    of_test = [line.test_good[i] for i in rng.permutation(len(line.test_good))]
    spare = pool[len(support_good) :] if spare_good or not of_test else []
    query_good = (of_test + spare)[: max(1, query // 2)]
    query_bad = defective[held:][: max(1, query - len(query_good))]
    return EpisodeImages(tuple(support_good), tuple(defective[:held]), (*query_good, *query_bad))


def sample_episode(
    line: ProductLine,
    source: FeatureSource,
    preprocess: PreprocessSpec,
    config: SupportConfig,
    *,
    good: int,
    defects: int,
    query: int,
    seed: int,
) -> Episode:
    """Draw one episode and get its features."""
    images = sample_images(line, good=good, defects=defects, query=query, seed=seed)
    return Episode(
        line=line.name,
        support=build_support(images.good, images.defects, source, preprocess, config, seed=seed),
        query=build_query(images.query, source, preprocess),
    )


def read_defect_mask(record: ImageRecord) -> NDArray[np.bool_] | None:
    """The record's mask (h, w) at its file's own size, None where it has none. Raises `ImageError`."""
    if record.mask_path is None:
        return None
    mask = read_mask(record.mask_path, read_size(record.path))
    return mask if record.shift is None else record.shift.apply_mask(mask)


def _decoder(preprocess: PreprocessSpec) -> Decode:
    """Decodes an image when its pixels are first asked for, and keeps them for its augmentations and defects."""
    return cache(partial(_pixels, preprocess=preprocess))


def _plain(record: ImageRecord, preprocess: PreprocessSpec, decode: Decode) -> Item:
    return _key(record, preprocess, "plain"), lambda: decode(record)


def _augmented(record: ImageRecord, preprocess: PreprocessSpec, name: str, decode: Decode) -> Item:
    def load() -> Pixels:
        return np.ascontiguousarray(AUGMENTATIONS[name](decode(record)))

    return _key(record, preprocess, name), load


def _painted(
    record: ImageRecord, preprocess: PreprocessSpec, seed: int, decode: Decode
) -> tuple[Item, NDArray[np.bool_]]:
    """A synthetic defect on a good image, and its mask. Pasted material comes from the image in another light."""
    good, rng = decode(record), np.random.default_rng(seed)
    image, mask, _ = paint_defect(good, rng, donor=photometric_jitter(good, rng))
    return (_key(record, preprocess, f"synthetic:{PAINTER_VERSION}:{seed}"), lambda: image), mask


def _pixels(record: ImageRecord, preprocess: PreprocessSpec) -> Pixels:
    image = require_image(record.path, _of_its_camera(record, preprocess))
    return image.pixels if record.shift is None else record.shift.apply(image.pixels, image.sha256)


def _key(record: ImageRecord, preprocess: PreprocessSpec, transform: str) -> FeatureKey:
    seen = transform if record.shift is None else f"{record.shift.key} {transform}"
    return FeatureKey(_hash(record.path), _of_its_camera(record, preprocess), seen)


def _of_its_camera(record: ImageRecord, preprocess: PreprocessSpec) -> PreprocessSpec:
    return preprocess if record.white_level is None else replace(preprocess, white_level=record.white_level)


def _masks(records: Sequence[ImageRecord], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Defect fractions (B, H, W) and which are known (B,): a good image's empty mask is."""
    masks = [read_defect_mask(record) for record in records]
    fractions = [torch.zeros(grid) if mask is None else _fractions(mask, grid) for mask in masks]
    known = [not record.is_defect or record.mask_path is not None for record in records]
    return _stack(fractions, grid), torch.tensor(known, dtype=torch.bool)


def _fractions(mask: NDArray[np.bool_], grid: tuple[int, int]) -> Tensor:
    """The share of each grid cell that is defective (H, W), 0..1."""
    share = cv2.resize(mask.astype(np.float32), (grid[1], grid[0]), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(share)


def _stack(maps: list[Tensor], grid: tuple[int, int]) -> Tensor:
    return torch.stack(maps) if maps else torch.zeros(0, *grid)


def _hash(path: Path) -> str:
    status = path.stat()
    return _hash_of((path, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=65536)
def _hash_of(state: tuple[Path, int, int]) -> str:
    return sha256_file(state[0])
