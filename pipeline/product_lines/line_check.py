"""Is a line fit to adapt to and to judge by? Every image and mask is read once, and a report comes back."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageError
from pipeline.imaging.bayer import looks_like_mosaic
from pipeline.imaging.encoded import Pixels, brightest_value
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import (
    ImageLimits,
    UnreadableImage,
    image_limits,
    open_image,
)
from pipeline.imaging.white_level import white_level_for
from pipeline.product_lines.left_out import unused_files
from pipeline.product_lines.line_report import (
    TEST_GOOD,
    TRAIN_GOOD,
    DuplicateGroup,
    LineReport,
    MaskReport,
    NearDuplicate,
    empty_mask_sentences,
    mask_sentences,
    mosaic_sentences,
    place,
)
from pipeline.product_lines.lines import ImageRecord, ProductLine, load_line
from pipeline.product_lines.mask_check import ExaminedMask, examine_mask
from pipeline.product_lines.near_duplicates import THUMBNAIL_SIDE, find_near_duplicates, thumbnail


@dataclass(frozen=True)
class _Examined:
    """What one readable image gave. `mask`: what its mask gave, or why it cannot be used; None without one."""

    record: ImageRecord
    place: str
    sha256: str
    size: tuple[int, int]
    bit_depth: int
    channels: int
    brightest: int
    thumbnail: Pixels
    mask: ExaminedMask | UnreadableImage | None
    mosaic: bool


def check_line(
    line: Path | ProductLine, *, limits: ImageLimits | None = None, workers: int | None = None
) -> LineReport:
    """Read every image and mask of a line and report.

    Args:
        line: its folder, in either layout of `pipeline.product_lines.lines`, or the line as it was loaded.
        limits: what is refused before decoding; None: what this machine is set to refuse.
        workers: decoding threads; None: one for each processor.

    Raises:
        LineError: the folder is no line at all.
    """
    line, limits = load_line(line) if isinstance(line, Path) else line, limits or image_limits()
    placed = _placed(line)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        outcomes = list(pool.map(lambda item: _examine(item[0], item[1], limits), placed))
    examined = [outcome for outcome in outcomes if isinstance(outcome, _Examined)]
    white_level = _white_level(examined)
    unused, not_read = unused_files(line)
    return LineReport(
        line=line,
        counts=dict(Counter(where for _, where in placed)),
        sizes=dict(Counter(image.size for image in examined).most_common()),
        bit_depths=dict(Counter(image.bit_depth for image in examined)),
        channels=dict(Counter(image.channels for image in examined)),
        white_level=white_level,
        unreadable=tuple(outcome for outcome in outcomes if isinstance(outcome, UnreadableImage)),
        duplicates=_duplicates(examined),
        near_duplicates=_near_duplicates(examined, white_level),
        masks=_mask_report(examined),
        mosaics=tuple(image.record.path for image in examined if image.mosaic),
        unused=unused,
        not_read=not_read,
    )


def mask_remarks(line: ProductLine, records: Iterable[ImageRecord]) -> Iterator[str]:
    """What `check_line` would say of some records' masks, none of which are refused.

    Raises:
        ImageError: an image cannot be used.
    """
    masks = [
        examine_mask(record.mask_path, open_image(read_bytes(record.path, image_limits().max_bytes)))
        for record in records
        if record.mask_path is not None
    ]
    readable = [mask for mask in masks if isinstance(mask, ExaminedMask)]
    yield from empty_mask_sentences(line.root, [mask.path for mask in readable if mask.share == 0])
    yield from mask_sentences(line.root, readable)


def mosaic_remarks(line: ProductLine, records: Sequence[ImageRecord]) -> Iterator[str]:
    """What `check_line` would say of some records that look like Bayer mosaics.

    Raises:
        ImageError: an image cannot be used.
    """
    images = [(record.path, open_image(read_bytes(record.path, image_limits().max_bytes))) for record in records]
    grey = [(path, encoded) for path, encoded in images if encoded.channels == 1]
    mosaics = [path for path, encoded in grey if looks_like_mosaic(encoded, encoded.decode(0, 0))]
    return mosaic_sentences(line.root, mosaics, len(grey))


def _placed(line: ProductLine) -> list[tuple[ImageRecord, str]]:
    """Every record with its place in the report."""
    train = [(record, place(record.kind, in_training=True)) for record in line.train_good]
    return train + [(record, place(record.kind, in_training=False)) for record in (*line.test_good, *line.defects)]


def _examine(record: ImageRecord, where: str, limits: ImageLimits) -> _Examined | UnreadableImage:
    sha256: str | None = None
    try:
        data = read_bytes(record.path, limits.max_bytes)
        sha256 = hashlib.sha256(data).hexdigest()
        encoded = open_image(data, limits)
        pixels = encoded.decode(2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE)
    except ImageError as error:
        return UnreadableImage(record.path, sha256, str(error))
    return _Examined(
        record=record,
        place=where,
        sha256=sha256,
        size=encoded.upright_size,
        bit_depth=encoded.bit_depth,
        channels=encoded.channels,
        brightest=brightest_value(pixels) if encoded.bit_depth > 8 else 0,
        thumbnail=thumbnail(pixels, encoded),
        mask=None if record.mask_path is None else examine_mask(record.mask_path, encoded),
        mosaic=looks_like_mosaic(encoded, pixels),
    )


def _white_level(examined: list[_Examined]) -> int | None:
    deep = [image.brightest for image in examined if image.bit_depth > 8]
    return white_level_for(max(deep)) if deep else None


def _duplicates(examined: list[_Examined]) -> tuple[DuplicateGroup, ...]:
    groups: dict[str, list[_Examined]] = defaultdict(list)
    for image in examined:
        groups[image.sha256].append(image)
    return tuple(
        DuplicateGroup(
            sha256,
            tuple(image.record.path for image in images),
            tuple(sorted({image.place for image in images})),
        )
        for sha256, images in groups.items()
        if len(images) > 1
    )


def _near_duplicates(examined: list[_Examined], white_level: int | None) -> tuple[NearDuplicate, ...]:
    """Good test images that are training images saved anew, each with the closest; identical files are not repeated."""
    train = [image for image in examined if image.place == TRAIN_GOOD]
    test = [image for image in examined if image.place == TEST_GOOD]
    pairs = find_near_duplicates(_thumbnails(train, white_level), _thumbnails(test, white_level))
    closest: dict[int, NearDuplicate] = {}
    for left, right, difference in sorted(pairs, key=lambda pair: pair[2]):
        if train[left].sha256 != test[right].sha256:
            closest.setdefault(right, NearDuplicate(train[left].record.path, test[right].record.path, difference))
    return tuple(pair for _, pair in sorted(closest.items()))


def _thumbnails(images: list[_Examined], white_level: int | None) -> NDArray[np.uint8]:
    """(N, T, T), with the line's white level at 255."""
    scale = 255.0 / (white_level or 255)
    scaled = [
        image.thumbnail if image.bit_depth == 8 else cv2.convertScaleAbs(image.thumbnail, alpha=scale)
        for image in images
    ]
    return np.array(scaled, np.uint8).reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE)


def _mask_report(examined: list[_Examined]) -> MaskReport:
    defects = [image for image in examined if image.record.is_defect]
    masks = [image.mask for image in defects if isinstance(image.mask, ExaminedMask)]
    return MaskReport(
        usable=tuple(mask for mask in masks if mask.share > 0),
        missing=tuple(image.record.path for image in defects if image.mask is None),
        empty=tuple(mask.path for mask in masks if mask.share == 0),
        unusable=tuple(image.mask for image in defects if isinstance(image.mask, UnreadableImage)),
    )
