"""What a check of a line found, and the sentences that follow from it. Rendering is the command line's job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.imaging.images import UnreadableImage
from pipeline.imaging.not_read import NotRead
from pipeline.imaging.white_level import line_white_level
from pipeline.product_lines.layout_names import GOOD
from pipeline.product_lines.line_sentences import (
    empty_mask_sentences,
    first_few,
    how_many,
    mask_sentences,
    mosaic_sentences,
    named,
    unused_sentences,
)
from pipeline.product_lines.lines import ProductLine
from pipeline.product_lines.mask_check import ExaminedMask
from pipeline.product_lines.region_check import RegionReport

TRAIN_GOOD = "train good"
TEST_GOOD = "test good"
_FEW_GOOD_IMAGES = 4
_TOLD_GROUPS = 5  # of equal files, each in a sentence


class Severity(StrEnum):
    """An error keeps a line from being used as it is; a warning is worth a look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Problem:
    """One sentence about what is wrong, with file names relative to the line's folder."""

    severity: Severity
    sentence: str


@dataclass(frozen=True)
class DuplicateGroup:
    """Files with the very same bytes. `places` are where they stand, sorted: "train good", "test good" or a kind."""

    sha256: str
    paths: tuple[Path, ...]
    places: tuple[str, ...]

    @property
    def good_and_defective(self) -> bool:
        """Whether one of them is called good and another defective."""
        return bool({TRAIN_GOOD, TEST_GOOD} & set(self.places) and set(self.places) - {TRAIN_GOOD, TEST_GOOD})


@dataclass(frozen=True)
class NearDuplicate:
    """An image that shows the same picture as another, the `original`; `difference` is in grey levels, 0..255."""

    original: Path
    copy: Path
    difference: float


@dataclass(frozen=True, kw_only=True)
class MaskReport:
    """The masks of a line's readable defects.

    Args:
        usable: those that fit and mark something.
        missing: defects without a mask.
        empty: masks in which no pixel is marked.
        unusable: masks that cannot be read or are not of their image's size, with the reason.
    """

    usable: tuple[ExaminedMask, ...]
    missing: tuple[Path, ...]
    empty: tuple[Path, ...]
    unusable: tuple[UnreadableImage, ...]


@dataclass(frozen=True, kw_only=True)
class LineReport:
    """What a line holds and what is wrong with it. Sizes, depths and channels are of the readable images.

    Args:
        line: the line as loaded.
        counts: number of images by place: "train good", "test good" and each kind of defect.
        sizes: number of images of each upright (height, width), the most frequent first.
        bit_depths: number of images of 8 and of 16 bits.
        channels: number of images with 1 (grey), 3 (colour) and 4 (with alpha) channels.
        brightest: the largest pixel value of deeper than 8-bit images; None without such images.
        unreadable: images that cannot be used.
        duplicates: byte-identical images.
        near_duplicates: good test images that are training images saved anew, each with the closest one.
        near_good: defective images that are good images saved anew, in the same way.
        repeated: good training images that show a part again, see `pipeline.repeated_parts`.
        masks: the state of the masks.
        mosaics: images of one channel that look like Bayer mosaics.
        unused: image files in the line's folder that are neither an image nor a mask of the line.
        not_read: files in the line's folder that are no image files.
        region: the state of the file that draws its region of interest.
    """

    line: ProductLine
    counts: dict[str, int]
    sizes: dict[tuple[int, int], int]
    bit_depths: dict[int, int]
    channels: dict[int, int]
    brightest: int | None
    unreadable: tuple[UnreadableImage, ...]
    duplicates: tuple[DuplicateGroup, ...]
    near_duplicates: tuple[NearDuplicate, ...]
    near_good: tuple[NearDuplicate, ...]
    repeated: tuple[Path, ...]
    masks: MaskReport
    mosaics: tuple[Path, ...]
    unused: tuple[Path, ...]
    not_read: NotRead
    region: RegionReport

    @property
    def white_level(self) -> int | None:
        """Suggested for deeper than 8-bit images; None without such images."""
        return line_white_level(self.brightest)

    @property
    def of_mosaics(self) -> bool:
        """Whether all images are of one channel and most of them look like Bayer mosaics."""
        return {*self.channels} == {1} and 2 * len(self.mosaics) >= self.channels[1]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings may remain."""
        return not (self.region.errors or any(self._errors()))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem, errors first."""
        errors = [Problem(Severity.ERROR, sentence) for sentence in (*self._errors(), *self.region.errors)]
        oddities = (*self._oddities(), *self.region.warnings)
        warnings = (*self._shortages(), *self._repeats(), *self._unmarked(), *oddities)
        return (*errors, *(Problem(Severity.WARNING, sentence) for sentence in warnings))

    @property
    def told_by_jobs(self) -> tuple[str, ...]:
        """Those of the sentences that a job which uses all of the line says: what it leaves out, and what is odd."""
        unmarked = empty_mask_sentences(self.line.root, self.masks.empty)
        return (*self._errors(), *self._repeats(), *unmarked, *self._oddities())

    def _errors(self) -> Iterator[str]:
        if self.unreadable:
            yield f"{how_many(self.unreadable, 'image')} cannot be used: {self._reasons(self.unreadable)}."
        if len(self.bit_depths) > 1:
            depths = " and ".join(f"{count} of {bits} bits" for bits, count in sorted(self.bit_depths.items()))
            yield f"The images differ in depth, {depths}: take all of them with one camera setting."
        yield from _few(self._on_both_sides())
        if self.masks.unusable:
            yield f"{how_many(self.masks.unusable, 'mask')} cannot be used: {self._reasons(self.masks.unusable)}."

    def _on_both_sides(self) -> Iterator[str]:
        for group in self.duplicates:
            names = self._names(group.paths)
            if group.good_and_defective:
                yield f"A good and a defective image are the same file: {names}."
            elif group.places == (TEST_GOOD, TRAIN_GOOD):
                yield f"A training and a test image are the same file, which counts in training only: {names}."

    def _shortages(self) -> Iterator[str]:
        copies = sum(len(group.paths) - 1 for group in self.duplicates if group.places == (TRAIN_GOOD,))
        good = self.counts.get(TRAIN_GOOD, 0) - copies
        if good < _FEW_GOOD_IMAGES:
            different = "different " if copies else ""
            images = "image" if good == 1 else "images"
            yield f"Only {good} {different}good training {images}: add some, up to at least {_FEW_GOOD_IMAGES}."
        if len(self.sizes) > 1:
            smallest, largest = (_size(pick(self.sizes, key=_by_area)) for pick in (min, max))
            yield f"The images have {len(self.sizes)} sizes, from {smallest} to {largest} pixels."
        if 1 in self.channels and len(self.channels) > 1:
            colour = sum(self.channels.values()) - self.channels[1]
            yield f"{how_many(range(self.channels[1]), 'image')} in grey, but {colour} in colour."

    def _repeats(self) -> Iterator[str]:
        yield from copy_sentences(self.line.root, self.duplicates)
        for found, copy, original in (
            (self.near_duplicates, "good test image", "training image"),
            (self.near_good, "defective image", "good image"),
        ):
            if found:
                pairs = [f"{self._names([pair.copy])} of {self._names([pair.original])}" for pair in found]
                yield f"{how_many(pairs, copy)} may be a {original} saved anew: {first_few(pairs)}."
        if self.repeated:
            single = len(self.repeated) == 1
            shows = "shows a part that another shows, too" if single else "show parts that others show, too"
            images, them = how_many(self.repeated, "good training image"), "it" if single else "them"
            yield f"{images} {shows}, and adapt leaves {them} out: {self._names(self.repeated)}."

    def _unmarked(self) -> Iterator[str]:
        masked = len(self.masks.usable) + len(self.masks.empty) + len(self.masks.unusable)
        if self.masks.missing and masked:
            yield f"{how_many(self.masks.missing, 'defect')} without a mask: {self._names(self.masks.missing)}."
        yield from empty_mask_sentences(self.line.root, self.masks.empty)

    def _oddities(self) -> Iterator[str]:
        yield from mosaic_sentences(self.line.root, self.mosaics, self.channels.get(1, 0))
        yield from mask_sentences(self.line.root, self.masks.usable)
        yield from unused_sentences(self.line.root, self.unused)
        yield from self.not_read.sentences

    def _names(self, paths: Iterable[Path]) -> str:
        return named(self.line.root, paths)

    def _reasons(self, images: Iterable[UnreadableImage]) -> str:
        return first_few([f"{self._names([image.path])} ({image.reason})" for image in images])


def place(kind: str, *, in_training: bool) -> str:
    """Where an image stands, as the report calls it."""
    if kind != GOOD:
        return kind
    return TRAIN_GOOD if in_training else TEST_GOOD


def copy_sentences(root: Path, groups: Iterable[DuplicateGroup]) -> Iterator[str]:
    """What is said of images that are the same file and are neither both good and defective nor learned and tested."""
    yield from _few(_counted_once(root, groups))


def _counted_once(root: Path, groups: Iterable[DuplicateGroup]) -> Iterator[str]:
    for group in groups:
        if len(group.places) == 1:
            images = how_many(group.paths, f"{group.places[0]} image")
            counted = "are judged each" if group.places == (TEST_GOOD,) else "count once"
            yield f"{images} are the same file and {counted}: {named(root, group.paths)}."
        elif not {TRAIN_GOOD, TEST_GOOD} & set(group.places):
            yield f"Two kinds of defect have the same file, which counts once: {named(root, group.paths)}."


def _few(sentences: Iterable[str]) -> Iterator[str]:
    """The first of the sentences on equal files, of which a folder may have hundreds, and how many more there are."""
    every = list(sentences)
    yield from every[:_TOLD_GROUPS]
    if len(every) > _TOLD_GROUPS:
        yield f"So are {len(every) - _TOLD_GROUPS} more groups of images: `linewise lines check` has all with --json."


def _by_area(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] * size[1], size[0]  # of equal areas, as upright and lying ones, the lower one first


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
