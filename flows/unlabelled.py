"""A line's unlabelled images: which they are, and a head that took up those that look good."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deploy.scoring.sources.line_masks import LineMasks, draws_region
from flows.views import AdaptedLine
from pipeline.augmentations import ROTATIONS
from pipeline.errors import LineError
from pipeline.imaging.files import instead_of_empty, instead_of_folder, iter_image_files
from pipeline.imaging.images import PreprocessSpec, UnreadableImage, read_image
from pipeline.imaging.not_read import NotRead
from pipeline.imaging.white_level import depth_problem
from pipeline.product_lines.lines import ImageRecord
from pipeline.storage import sha256_file
from pipeline.support import DirectFeatures, FeatureSource, build_unlabelled
from pipeline.take_up import TakeUp, take_up
from pipeline.unicode_names import one_line

UNLABELLED = "unlabelled"
"""The kind of their records."""


class Candidate(NamedTuple):
    """A file that may be an unlabelled image; `sha256`: only where it still has this content."""

    path: Path
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Files that may be unlabelled images; `where` they are in words, "in FOLDER"; sentences on what else is there."""

    files: tuple[Candidate, ...]
    where: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """A line's unlabelled images, and sentences on what is left out."""

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


def images_below(folder: Path) -> Candidates:
    """The image files of a folder, in folders of any depth, but for the masks of a line in it.

    Raises:
        LineError: no such folder, or only files in it that are not read.
        StorageError: it cannot be listed.
    """
    if not folder.is_dir():
        got = f"a file, {folder}" if folder.is_file() else f"no folder {folder}"
        raise LineError("a folder of unlabelled images", got, instead_of_folder(folder))
    not_read, masks = NotRead(folder), LineMasks(folder)
    paths = iter_image_files(folder, not_read.see)
    files = tuple(Candidate(path) for path in paths if not (masks.hold(path.parent) or draws_region(path)))
    if not files and not_read.found:
        got = f"none in {folder}, but {not_read.found}"
        raise LineError("unlabelled images", got, instead_of_empty(folder, "name a folder that holds images"))
    return Candidates(files=files, where=f"in {folder}", remarks=(*not_read.sentences, *masks.sentences))


def draw_unlabelled(
    candidates: Sequence[Candidates],
    labelled: AbstractSet[str],
    preprocess: PreprocessSpec,
    *,
    line: str,
    limit: int,
    seed: int,
) -> Unlabelled:
    """Usable images, each content once and none of the labelled ones.

    They are drawn before they are looked at, and one that cannot be used is replaced by the next drawn: of many files
    the cost is as of few. Where there are no more than the limit, nothing is drawn.

    Args:
        candidates: where they may be.
        labelled: the contents that somebody labelled.
        preprocess: that they must be readable with.
        line: its name.
        limit: most images to use, drawn by the seed.
        seed: of the draw.

    Returns:
        The images in the candidates' order; what is said of copies and of what cannot be used is of those looked at.

    Raises:
        LineError: no usable image.
        StorageError: a file cannot be read.
    """
    files = [file for found in candidates for file in found.files]
    order = np.random.default_rng(seed).permutation(len(files)) if len(files) > limit else np.arange(len(files))
    contents, used, seen = set(labelled), list[int](), _Seen()
    for index in order.tolist():
        if len(used) == limit:
            break
        content = seen.usable_content(files[index], preprocess, contents)
        if content is not None:
            contents.add(content)
            used.append(index)
    if not used:
        where = " or ".join(found.where for found in candidates)
        got = f"none that can be used ({' '.join(seen.remarks()).removesuffix('.')})" if files else "none"
        raise LineError(f"unlabelled images {where}", got, "take others, or do without")
    remarks = [remark for found in candidates for remark in found.remarks] + seen.remarks()
    if seen.count < len(files):
        remarks.append(f"{len(used)} unlabelled images are used, drawn by the seed from {len(files):,} files.")
    records = tuple(ImageRecord(files[index].path, line, UNLABELLED) for index in sorted(used))
    return Unlabelled(records=records, remarks=tuple(remarks))


class _Seen:
    """Looks at files, and counts those that are not used."""

    def __init__(self) -> None:
        self.count = 0
        self._copies = 0
        self._moved = 0
        self._unusable = list[str]()

    def usable_content(self, file: Candidate, preprocess: PreprocessSpec, contents: AbstractSet[str]) -> str | None:
        """The content of a file that can be used and is none of these; None: it cannot."""
        self.count += 1
        image = read_image(file.path, preprocess)
        if file.sha256 not in (None, image.sha256):
            self._moved += 1
        elif isinstance(image, UnreadableImage):
            self._unusable.append(f"{one_line(file.path.name)}: {image.reason}")
        elif problem := depth_problem(image.bit_depth, image.brightest, preprocess.white_level):
            self._unusable.append(f"{one_line(file.path.name)}: {problem}")
        elif image.sha256 in contents:
            self._copies += 1
        else:
            return image.sha256
        return None

    def remarks(self) -> list[str]:
        """Sentences on the others."""
        said = []
        if self._copies:
            said.append(
                f"{_left_out(self._copies, 'unlabelled image')}: {_they(self._copies)} equal to others or labelled."
            )
        if self._moved:
            said.append(f"{_left_out(self._moved, 'scored image')}: {_they(self._moved)} gone or changed since.")
        if self._unusable:
            more = f", and {len(self._unusable) - 1} more" if len(self._unusable) > 1 else ""
            said.append(f"Unlabelled images left out, as they cannot be used: {self._unusable[0]}{more}.")
        return said


def _left_out(count: int, noun: str) -> str:
    return f"{count} {noun}{' is' if count == 1 else 's are'} left out"


def _they(count: int) -> str:
    return "it is" if count == 1 else "they are"


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
