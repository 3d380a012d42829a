"""A head that took up those of a line's unlabelled images that look good, and what became of each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.views import AdaptedLine
from pipeline.augmentations import ROTATIONS
from pipeline.product_lines.lines import ImageRecord
from pipeline.storage import sha256_file
from pipeline.support import DirectFeatures, FeatureSource, build_unlabelled
from pipeline.take_up import TakeUp, take_up


@dataclass(frozen=True, kw_only=True)
class SeenUnlabelled:
    """An unlabelled image, whether it was taken up, and its score that decided it: by a head that does not know it."""

    path: Path
    sha256: str
    score: float
    taken: bool


@dataclass(frozen=True, kw_only=True)
class TakeUpReport:
    """What became of the unlabelled images, those of the highest score first; see `pipeline.take_up.TakeUp`."""

    images: tuple[SeenUnlabelled, ...]
    limit: float
    guarded: bool

    @property
    def taken(self) -> tuple[SeenUnlabelled, ...]:
        """Those that count as good parts now."""
        return tuple(image for image in self.images if image.taken)

    @property
    def left_out(self) -> tuple[SeenUnlabelled, ...]:
        """The others: look at them."""
        return tuple(image for image in self.images if not image.taken)

    def named(self, image: SeenUnlabelled, folder: Path | None) -> str:
        """What to call an image: by its path below the folder of unlabelled ones, else by its whole path."""
        if folder is not None and image.path.is_relative_to(folder):
            return str(image.path.relative_to(folder))
        return str(image.path)

    @property
    def reason(self) -> str:
        """Why the others were left out."""
        if self.guarded:
            return f"scores above {self.limit:.4g} lie where half of the known defects do"
        return f"scores above {self.limit:.4g} lie apart from the bulk of them"


def take_up_into(
    adapted: AdaptedLine, records: Sequence[ImageRecord], *, features: FeatureSource | None = None, seed: int
) -> tuple[AdaptedLine, TakeUpReport]:
    """The line adapted anew, from its labelled images and those of the unlabelled ones that look good.

    Args:
        adapted: to the labelled images.
        records: the unlabelled ones.
        features: cached ones; None: straight from the backbone, in full precision.
        seed: of the adaptations.

    Raises:
        ImageError: an image cannot be used.
    """
    view = adapted.view
    names = view.config.augmentations
    # Flips stand in for images that are missing, see `SupportConfig.for_count`; rotations for other angles.
    if not any(name in ROTATIONS for name in names):
        names = view.config.for_count(len(view.good) + len(records)).augmentations
    source = features or DirectFeatures(view.extractor)
    unlabelled = build_unlabelled(records, source, view.preprocess, names)
    found = take_up(adapted.learner, view.support, unlabelled, adapted.head, seed=seed)
    taken = tuple(record for record, is_taken in zip(records, found.taken, strict=True) if is_taken)
    in_full = view.support.k
    joined = replace(view, good=(*view.good[:in_full], *taken, *view.good[in_full:]), support=found.support)
    better = replace(adapted, view=joined, head=found.adaptation.head, alone=found.alone)
    return better, _report(records, found)


def _report(records: Sequence[ImageRecord], found: TakeUp) -> TakeUpReport:
    seen = [
        SeenUnlabelled(path=record.path, sha256=sha256_file(record.path), score=float(score), taken=bool(taken))
        for record, score, taken in zip(records, found.scores, found.taken, strict=True)
    ]
    images = tuple(sorted(seen, key=lambda image: -image.score))
    return TakeUpReport(images=images, limit=found.limit, guarded=found.guarded)
