"""A line's unlabelled images: which they are, and a head that took up those that look good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flows.views import AdaptedLine
from pipeline.augmentations import ROTATIONS
from pipeline.errors import LineError
from pipeline.imaging.files import iter_image_files
from pipeline.imaging.images import ImageFile, PreprocessSpec, UnreadableImage, read_file, read_image
from pipeline.imaging.not_read import NotRead
from pipeline.imaging.white_level import depth_problem
from pipeline.product_lines.lines import ImageRecord
from pipeline.storage import sha256_file
from pipeline.support import DirectFeatures, FeatureSource, build_unlabelled
from pipeline.take_up import TakeUp, take_up

UNLABELLED = "unlabelled"
"""The kind of their records."""


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """A line's unlabelled images, and sentences on what is left out of their folder."""

    records: tuple[ImageRecord, ...]
    remarks: tuple[str, ...]


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

    @property
    def reason(self) -> str:
        """Why the others were left out."""
        if self.guarded:
            return f"above {self.limit:.4g} images score as half of the known defects do"
        return f"scores above {self.limit:.4g} lie apart from the bulk of them"


def find_unlabelled(
    folder: Path, known: Iterable[ImageRecord], preprocess: PreprocessSpec, *, line: str, limit: int, seed: int
) -> Unlabelled:
    """Usable images of a folder, each content once and none of the labelled ones.

    They are drawn before they are looked at, and one that cannot be used is replaced by the next drawn: a folder of
    many costs as one of few. Where no more than the limit are there, nothing is drawn.

    Args:
        folder: with images, in folders of any depth.
        known: the line's labelled images.
        preprocess: that they must be readable with.
        line: its name.
        limit: most images to use, drawn by the seed.
        seed: of the draw.

    Returns:
        The images in the folder's order; what is said of copies and of what cannot be used is of those looked at.

    Raises:
        LineError: no such folder, or no usable image in it.
        StorageError: a file cannot be read.
    """
    if not folder.is_dir():
        raise LineError("a folder of unlabelled images", f"no folder {folder}", "name one")
    not_read, files = NotRead(folder), (read_file(record.path) for record in known)
    contents = {file.sha256 for file in files if isinstance(file, ImageFile)}
    paths = list(iter_image_files(folder, not_read.see))
    order = np.random.default_rng(seed).permutation(len(paths)) if len(paths) > limit else np.arange(len(paths))
    used: list[int] = []
    looked_at, copies, unusable = 0, 0, list[str]()
    for index in order.tolist():
        if len(used) == limit:
            break
        path, looked_at = paths[index], looked_at + 1
        image = read_image(path, preprocess)
        if isinstance(image, UnreadableImage):
            unusable.append(f"{path.name}: {image.reason}")
        elif problem := depth_problem(image.bit_depth, image.brightest, preprocess.white_level):
            unusable.append(f"{path.name}: {problem}")
        elif image.sha256 in contents:
            copies += 1
        else:
            contents.add(image.sha256)
            used.append(index)
    remarks = list(not_read.sentences)
    if copies:
        were = "is left out: it is" if copies == 1 else "are left out: they are"
        remarks.append(f"{copies} unlabelled image{'' if copies == 1 else 's'} {were} equal to others or labelled.")
    if unusable:
        more = f", and {len(unusable) - 1} more" if len(unusable) > 1 else ""
        remarks.append(f"Unlabelled images left out, as they cannot be used: {unusable[0]}{more}.")
    if not used:
        raise LineError(f"unlabelled images in {folder}", "none that can be used", "name a folder with images")
    if looked_at < len(paths):
        remarks.append(f"{len(used)} unlabelled images are used, drawn by the seed from {len(paths):,} files.")
    records = tuple(ImageRecord(paths[index], line, UNLABELLED) for index in sorted(used))
    return Unlabelled(records=records, remarks=tuple(remarks))


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
    source = features or DirectFeatures(view.backbone.extractor)
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
