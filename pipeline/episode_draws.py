"""Which images of a line an episode uses, and the episode of them: all of one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from pipeline.episodes import Episode
from pipeline.errors import LineError
from pipeline.imaging.images import PreprocessSpec
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.support import FeatureSource, SupportConfig, build_query, build_support


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
