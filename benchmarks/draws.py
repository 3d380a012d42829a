"""One draw of a line, seen by a backbone, and a memory bank scored on it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import DEFAULT_SIZE
from model_zoo.heads.bank import AT_BORDER
from model_zoo.heads.invariant_inputs import level_groups
from model_zoo.heads.memory_bank_head import MemoryBankHead
from model_zoo.learners.memory_bank import MemoryBankConfig
from pipeline.episode_draws import sample_images
from pipeline.episodes import QuerySet, SupportSet
from pipeline.evaluation import Row, Truth, ranking_figures, read_truth, score_levels
from pipeline.features import DEFAULT_BACKBONE
from pipeline.input_size import InputSize
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.settings import Settings
from pipeline.support import DirectFeatures, FeatureSource, SupportConfig, build_query, build_support

GOOD = 4
ALL = 100_000
BANK_ROWS = MemoryBankConfig().bank_budget
FEW_GOOD, FEW_DEFECTS = 50, 60
JUDGED_AT = (DEFAULT_SIZE, DEFAULT_SIZE)
"""Pixels are counted at one size, whichever the input's is, so that figures compare."""


class Extraction(NamedTuple):
    """A backbone, and where its features come from: the cache on disk, or itself in full precision."""

    backbone: OpenBackbone
    features: FeatureSource


class Draw(NamedTuple):
    """The images to learn from, and the query to judge by."""

    seed: int
    good: Sequence[ImageRecord]
    defects: Sequence[ImageRecord]
    query: QuerySet
    truth: Truth


class ScoredBank(NamedTuple):
    """How a memory bank ranks a query, its image scores (Q,), and its support's, leave-one-out (K,)."""

    figures: Row
    scores: NDArray[np.float64]
    leave_one_out: NDArray[np.float64]


def cached(settings: Settings, size: int | InputSize = DEFAULT_SIZE) -> Extraction:
    """The default backbone and its features through the cache."""
    backbone = open_backbone(DEFAULT_BACKBONE, size, settings)
    return Extraction(backbone, backbone.cached(settings))


def uncached(settings: Settings, size: int | InputSize, name: str = DEFAULT_BACKBONE) -> Extraction:
    """A backbone that sees every image anew: for sizes that are looked at once."""
    backbone = open_backbone(name, size, settings)
    return Extraction(backbone, DirectFeatures(backbone.extractor))


def draw(
    line: ProductLine,
    seen: Extraction,
    seed: int,
    *,
    good: int = GOOD,
    defects: int = 0,
    query: int = ALL,
    spare_good: bool = False,
) -> Draw:
    """Draw a line's images and get their features; see `sample_images`."""
    images = sample_images(line, good=good, defects=defects, query=query, seed=seed, spare_good=spare_good)
    return Draw(seed, images.good, images.defects, *_query(images.query, seen))


def few(line: ProductLine, seen: Extraction, seeds: range) -> list[Draw]:
    """Draws of `GOOD` images with one query of at most 50 good and 60 defective test images, shared by all of them.

    A line without test/good gives good images that no draw learns from.
    """
    spare = sample_images(line, good=GOOD * len(seeds), defects=0, query=100, seed=0).query
    good = list(line.test_good) or [record for record in spare if not record.is_defect]
    defects = list(line.defects)
    for records in (good, defects):
        random.Random(0).shuffle(records)  # noqa: S311 - a draw of test images, not a secret
    query, truth = _query(good[:FEW_GOOD] + defects[:FEW_DEFECTS], seen)
    supports = (sample_images(line, good=GOOD, defects=0, query=2, seed=seed, spare_good=False) for seed in seeds)
    return [Draw(seed, images.good, (), query, truth) for seed, images in zip(seeds, supports, strict=True)]


def _query(records: Sequence[ImageRecord], seen: Extraction) -> tuple[QuerySet, Truth]:
    return build_query(records, seen.features, seen.backbone.preprocess()), read_truth(records, JUDGED_AT)


def bank_support(good: Sequence[ImageRecord], seen: Extraction, seed: int) -> SupportSet:
    """Good images alone, as the memory bank needs them: no synthetic defects."""
    return build_support(good, (), seen.features, seen.backbone.preprocess(), SupportConfig(synthetic=0), seed=seed)


def scored_bank(drawn: Draw, seen: Extraction, *, rows: int = BANK_ROWS, at_border: float = AT_BORDER) -> ScoredBank:
    """Build the bank of the good images, at most `rows` a level, and score the query; `at_border` weighs its border."""
    support, groups = bank_support(drawn.good, seen, drawn.seed), level_groups(seen.backbone.spec)
    head = MemoryBankHead.of_support(support, groups, budget=rows, seed=drawn.seed, at_border=at_border).eval()
    output, alone = score_levels(head, drawn.query.levels), head.leave_one_out(support)
    scores, left_out = (found.image_score.double().numpy() for found in (output, alone))
    return ScoredBank(ranking_figures(output, drawn.truth), scores, left_out)
