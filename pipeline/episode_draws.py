"""Which images of a line an episode uses, and the episode of them: all of one seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from pipeline.episodes import Episode
from pipeline.errors import LineError
from pipeline.imaging.images import PreprocessSpec
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.support import FeatureSource, SupportConfig, build_query, build_support


@dataclass(frozen=True)
class EpisodeImages:
    """Which images an episode uses; no image is in two of its parts.

    `unlabelled` are shown without their labels: good parts and so large a share of defective ones.
    """

    good: tuple[ImageRecord, ...]
    defects: tuple[ImageRecord, ...]
    query: tuple[ImageRecord, ...]
    unlabelled: tuple[ImageRecord, ...] = ()

    def first_unlabelled(self, count: int, contamination: float) -> EpisodeImages:
        """The same with the first so many unlabelled images, of which the share `contamination` is defective."""
        defective = [record for record in self.unlabelled if record.is_defect][: round(contamination * count)]
        good = [record for record in self.unlabelled if not record.is_defect][: count - len(defective)]
        return replace(self, unlabelled=(*good, *defective))


def sample_images(
    line: ProductLine,
    *,
    good: int,
    defects: int,
    query: int,
    seed: int,
    spare_good: bool = True,
    unlabelled: int = 0,
    contamination: float = 0.0,
    of_production: bool = False,
    one_kind: bool = False,
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
        unlabelled: unlabelled images, the good ones from what the support left of `train/good`.
        contamination: the share of them that is defective, 0..1.
        of_production: as many of the good unlabelled ones as half of `test/good` has are from there, and not in the
            query: production that is to be judged is what a plant has unlabelled, and may differ from `train/good`.
        one_kind: the unlabelled defects are all of one kind, of which the support left most: a shift with a worn tool.
            Where it has too few of them, fewer are defective than asked for.

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
    others = defective[held:]
    bad = min(round(contamination * unlabelled), max(0, len(others) - 1))
    if one_kind and others:
        kind, count = Counter(record.kind for record in others).most_common(1)[0]
        bad = min(bad, count)
        shift = [record for record in others if record.kind == kind][:bad]
        others = [*shift, *(record for record in others if record not in shift)]  # the query keeps its mix of kinds
    rest = pool[len(support_good) :]
    wanted = unlabelled - bad
    produced = of_test[: min(wanted, len(of_test) // 2)] if of_production else []
    of_test = of_test[len(produced) :]
    shown = rest[: min(wanted - len(produced), len(rest) - keep_one)]
    spare = rest[len(shown) :] if spare_good or not of_test else []
    query_good = (of_test + spare)[: max(1, query // 2)]
    query_bad = others[bad:][: max(1, query - len(query_good))]
    return EpisodeImages(
        good=tuple(support_good),
        defects=tuple(defective[:held]),
        query=(*query_good, *query_bad),
        unlabelled=(*produced, *shown, *others[:bad]),
    )


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
