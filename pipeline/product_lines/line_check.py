"""Is a line fit to adapt to and to judge by? Every image and mask is read once, and a report comes back."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.images import ImageLimits, UnreadableImage
from pipeline.imaging.not_read import NotRead
from pipeline.imaging.white_level import line_white_level
from pipeline.product_lines.examined_images import Examined, ExaminedImage, examine_images
from pipeline.product_lines.left_out import unused_files
from pipeline.product_lines.line_report import (
    DuplicateGroup,
    LineReport,
    MaskReport,
    NearDuplicate,
    place,
)
from pipeline.product_lines.lines import ImageRecord, ProductLine, load_line
from pipeline.product_lines.mask_check import ExaminedMask
from pipeline.product_lines.near_duplicates import THUMBNAIL_SIDE, find_near_duplicates
from pipeline.product_lines.region_check import RegionReport, check_region
from pipeline.repeated_parts import repeated


def check_line(
    line: Path | ProductLine,
    *,
    bayer: BayerPattern | None = None,
    limits: ImageLimits | None = None,
    workers: int | None = None,
) -> LineReport:
    """Read every image and mask of a line and report.

    Args:
        line: its folder, in either layout of `pipeline.product_lines.lines`, or the line as it was loaded.
        bayer: every image must be a mosaic of this pattern; None: none is.
        limits: what is refused before decoding; None: what this machine is set to refuse.
        workers: decoding threads; None: one for each processor.

    Raises:
        LineError: the folder is no line at all.
    """
    line = load_line(line) if isinstance(line, Path) else line
    records = (*line.train_good, *line.test_good, *line.defects)
    images = examine_images(records, bayer=bayer, limits=limits, workers=workers)
    unused, not_read = unused_files(line)
    sizes = {image.size for image in images if isinstance(image, ExaminedImage)}
    region = check_region(line.root, sizes)
    duplicates = _duplicates(line, images)
    return report_on(line, images, duplicates=duplicates, unused=unused, not_read=not_read, region=region)


def report_on(
    line: ProductLine,
    images: Sequence[Examined],
    *,
    duplicates: tuple[DuplicateGroup, ...] = (),
    unused: tuple[Path, ...] = (),
    not_read: NotRead | None = None,
    region: RegionReport | None = None,
) -> LineReport:
    """The report on a line whose images were examined; without what is not given.

    Args:
        line: as it was loaded, or the part of it that a job draws.
        images: all of its images.
        duplicates: see `LineReport`, as the rest.
        unused: image files beside them.
        not_read: other files beside them; None: nobody looked.
        region: of interest; None: as `not_read`.
    """
    examined = [image for image in images if isinstance(image, ExaminedImage)]
    deep = [image.brightest for image in examined if image.bit_depth > 8]
    brightest = max(deep, default=None)
    train, test, defects = (_those_of(records, examined) for records in (line.train_good, line.test_good, line.defects))
    return LineReport(
        line=line,
        counts=dict(Counter(where for _, where in _placed(line))),
        sizes=dict(Counter(image.size for image in examined).most_common()),
        bit_depths=dict(Counter(image.bit_depth for image in examined)),
        channels=dict(Counter(image.channels for image in examined)),
        brightest=brightest,
        unreadable=tuple(image for image in images if isinstance(image, UnreadableImage)),
        duplicates=duplicates,
        near_duplicates=_near_duplicates(train, test, line_white_level(brightest)),
        near_good=_near_duplicates([*train, *test], defects, line_white_level(brightest)),
        repeated=repeated_images(train),
        masks=_mask_report(defects),
        mosaics=tuple(image.record.path for image in examined if image.mosaic),
        unused=unused,
        not_read=not_read or NotRead(line.root),
        region=region or RegionReport(),
    )


def _those_of(records: Sequence[ImageRecord], examined: Sequence[ExaminedImage]) -> list[ExaminedImage]:
    paths = {record.path for record in records}
    return [image for image in examined if image.record.path in paths]


def _placed(line: ProductLine) -> Iterator[tuple[ImageRecord, str]]:
    """Every record with its place in the report."""
    for records, in_training in ((line.train_good, True), (line.test_good, False), (line.defects, False)):
        for record in records:
            yield record, place(record.kind, in_training=in_training)


def _duplicates(line: ProductLine, images: Sequence[Examined]) -> tuple[DuplicateGroup, ...]:
    places = {record.path: where for record, where in _placed(line)}
    groups: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        if isinstance(image, ExaminedImage):
            groups[image.sha256].append(image.record.path)
    return tuple(
        DuplicateGroup(sha256, tuple(paths), tuple(sorted({places[path] for path in paths})))
        for sha256, paths in groups.items()
        if len(paths) > 1
    )


def _near_duplicates(
    originals: Sequence[ExaminedImage], copies: Sequence[ExaminedImage], white_level: int | None
) -> tuple[NearDuplicate, ...]:
    """The copies that are originals saved anew, each with the closest one; identical files are not repeated."""
    pairs = find_near_duplicates(
        _thumbnails(originals, white_level), _thumbnails(copies, white_level), _areas(originals), _areas(copies)
    )
    closest: dict[int, NearDuplicate] = {}
    for left, right, difference in sorted(pairs, key=lambda pair: pair[2]):
        original, copy = originals[left], copies[right]
        if original.sha256 != copy.sha256:
            closest.setdefault(right, NearDuplicate(original.record.path, copy.record.path, difference))
    return tuple(pair for _, pair in sorted(closest.items()))


def repeated_images(good: Sequence[ExaminedImage]) -> tuple[Path, ...]:
    """Those of some good images that show a part again; identical files are told of as such."""
    once = list({image.sha256: image for image in reversed(good)}.values())[::-1]
    again = repeated(np.array([image.thumbnail for image in once]))
    return tuple(image.record.path for image, is_again in zip(once, again, strict=True) if is_again)


def _thumbnails(images: Sequence[ExaminedImage], white_level: int | None) -> NDArray[np.uint8]:
    """(N, T, T), with the line's white level at 255."""
    scale = 255.0 / (white_level or 255)
    scaled = [
        image.thumbnail if image.bit_depth == 8 else cv2.convertScaleAbs(image.thumbnail, alpha=scale)
        for image in images
    ]
    return np.array(scaled, np.uint8).reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE)


def _areas(images: Sequence[ExaminedImage]) -> list[int]:
    return [math.prod(image.size) for image in images]


def _mask_report(defects: Sequence[ExaminedImage]) -> MaskReport:
    masks = [image.mask for image in defects if isinstance(image.mask, ExaminedMask)]
    return MaskReport(
        usable=tuple(mask for mask in masks if mask.share > 0),
        missing=tuple(image.record.path for image in defects if image.mask is None),
        empty=tuple(mask.path for mask in masks if mask.share == 0),
        unusable=tuple(image.mask for image in defects if isinstance(image.mask, UnreadableImage)),
    )
