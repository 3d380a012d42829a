"""The input size a line is looked at with, chosen from its support.

Fine tracks need many pixels, odd texture few: on thirteen real lines the better of two sizes differs from line to line
and is worth more than any learner (`benchmarks/auto.md`). The support tells them apart: at which size do its defects,
synthetic ones where there are no others, stand out most from its good images?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.bundles.manifest import ChoiceRecord
from flows.jobs.backbones import OpenBackbone
from model_zoo.learners.auto import AutoAdaptation, AutoLearner
from pipeline.episodes import SupportSet
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import DEFAULT_LIMITS, PreprocessSpec, open_image
from pipeline.learner import AnomalyHead, Learner
from pipeline.product_lines.lines import ImageRecord
from pipeline.support import DirectFeatures, FeatureSource, SupportConfig, build_support

SUPPORT = SupportConfig()
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
    support: SupportSet


@dataclass(frozen=True)
class Adapted:
    """An adapted head in torch, who adapted it, from which view, and what was chosen on the way."""

    view: View
    learner: Learner
    head: AnomalyHead
    choices: tuple[ChoiceRecord, ...]


def candidate_sizes(records: Sequence[ImageRecord]) -> tuple[int, ...]:
    """The input sizes worth trying for these images: the default, and a larger one that enlarges none of them."""
    shortest = min(
        min(open_image(read_bytes(record.path, DEFAULT_LIMITS.max_bytes)).upright_size) for record in records
    )
    return (DEFAULT_SIZE, *[size for size in LARGER_SIZES if size <= shortest][:1])


def view_of(
    backbone: OpenBackbone,
    good: Sequence[ImageRecord],
    defects: Sequence[ImageRecord],
    *,
    white_level: int | None = None,
    features: FeatureSource | None = None,
    seed: int,
) -> View:
    """Decode the images to the backbone's size and build their support set.

    `features` gives cached ones; None: straight from the backbone, in full precision.
    """
    preprocess = backbone.preprocess(white_level)
    features = features or DirectFeatures(backbone.extractor)
    support = build_support(good, defects, features, preprocess, SUPPORT, seed=seed)
    return View(backbone, preprocess, tuple(good), tuple(defects), support)


def adapt_to_best(learners: Sequence[Learner], views: Sequence[View], *, seed: int) -> Adapted:
    """Adapt to each view with its learner, and keep the one whose image scores tell the support's defects best."""
    attempts = [_attempt(learner, view, seed) for learner, view in zip(learners, views, strict=True)]
    if len(attempts) == 1:
        return attempts[0][0]
    evidence = {f"{adapted.view.preprocess.height} px": value for adapted, value in attempts}
    best = max(range(len(attempts)), key=lambda index: attempts[index][1])
    adapted, _ = attempts[best]
    size = ChoiceRecord(what="input size", chosen=list(evidence)[best], evidence=evidence)
    return Adapted(adapted.view, adapted.learner, adapted.head, (size, *adapted.choices))


def _attempt(learner: Learner, view: View, seed: int) -> tuple[Adapted, float]:
    """One view's head, and its evidence."""
    if not isinstance(learner, AutoLearner):
        return Adapted(view, learner, learner.adapt(view.support, seed=seed), ()), 0.0
    found: AutoAdaptation = learner.choose(view.support, seed=seed)
    choices = tuple(
        ChoiceRecord(what=what, chosen=choice.chosen, evidence=dict(choice.evidence))
        for what, choice in (("image score from", found.image_rule), ("anomaly map from", found.map_rule))
    )
    return Adapted(view, learner, found.head, choices), found.image_rule.evidence[found.image_rule.chosen]
