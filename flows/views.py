"""The input size a line is looked at with, chosen from its support.

Fine tracks need many pixels, odd texture few: on thirteen real lines the better of two sizes differs from line to line
and is worth more than any learner (`benchmarks/auto.md`). The support tells them apart: at which size do its defects,
synthetic ones where there are no others, stand out most from its good images?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.bundles.manifest import ChoiceRecord
from flows.open_backbone import OpenBackbone
from pipeline.augmentations import FLIPS, ROTATIONS
from pipeline.episodes import SupportSet
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.images import PreprocessSpec, read_size
from pipeline.learner import AnomalyHead, Choice, Learner
from pipeline.product_lines.lines import ImageRecord
from pipeline.support import DirectFeatures, FeatureSource, SupportConfig, build_support

SUPPORT = SupportConfig()
ANY_ANGLE = SupportConfig(augmentations=tuple(dict.fromkeys((*FLIPS, *ROTATIONS))))
"""For parts that lie anyhow: rotations of the good images count as good too. Where parts keep their orientation that
costs a little, and a few images do not tell reliably which it is: a person says it (`benchmarks/rotation.md`)."""
DEFAULT_SIZE = 256
LARGER_SIZES = (512, 384)
"""Tried beside the default, the first that enlarges no image of the support."""


@dataclass(frozen=True)
class View:
    """A line's support images as one backbone at one input size sees them."""

    backbone: OpenBackbone
    preprocess: PreprocessSpec
    good: tuple[ImageRecord, ...]
    defects: tuple[ImageRecord, ...]
    config: SupportConfig
    support: SupportSet


@dataclass(frozen=True)
class AdaptedLine:
    """An adapted head in torch, who adapted it, from which view, and what was chosen on the way."""

    view: View
    learner: Learner
    head: AnomalyHead
    choices: tuple[ChoiceRecord, ...]


def candidate_sizes(records: Sequence[ImageRecord]) -> tuple[int, ...]:
    """The input sizes worth trying for these images: the default, and a larger one that enlarges none of them."""
    shortest = min(min(read_size(record.path)) for record in records)
    return (DEFAULT_SIZE, *[size for size in LARGER_SIZES if size <= shortest][:1])


def view_of(
    backbone: OpenBackbone,
    good: Sequence[ImageRecord],
    defects: Sequence[ImageRecord],
    *,
    config: SupportConfig = SUPPORT,
    white_level: int | None = None,
    bayer: BayerPattern | None = None,
    features: FeatureSource | None = None,
    seed: int,
) -> View:
    """Decode the images to the backbone's size and build their support set.

    `features` gives cached ones; None: straight from the backbone, in full precision.
    """
    preprocess = backbone.preprocess(white_level, bayer)
    features = features or DirectFeatures(backbone.extractor)
    support = build_support(good, defects, features, preprocess, config, seed=seed)
    return View(backbone, preprocess, tuple(good), tuple(defects), config, support)


def adapt_to_best(learner: Learner, views: Sequence[View], *, seed: int) -> AdaptedLine:
    """Adapt to each view, and keep the one whose image scores tell the support's defects best."""
    attempts = {f"{view.preprocess.height} px": (view, learner.choose(view.support, seed=seed)) for view in views}
    size = Choice(what="input size", evidence={name: found.evidence for name, (_, found) in attempts.items()})
    view, found = attempts[size.chosen]
    choices = found.choices if len(attempts) == 1 else (size, *found.choices)
    records = (
        ChoiceRecord(what=choice.what, chosen=choice.chosen, evidence=dict(choice.evidence)) for choice in choices
    )
    return AdaptedLine(view, learner, found.head, tuple(records))
