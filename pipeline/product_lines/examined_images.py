"""A line's images and masks, each read once before it is used: what a check reports on and adaptation draws from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from pipeline.errors import ImageError
from pipeline.imaging.bayer import demosaiced, looks_like_mosaic
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.encoded import Pixels, brightest_value
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import ImageLimits, UnreadableImage, image_limits, open_image
from pipeline.product_lines.lines import ImageRecord
from pipeline.product_lines.mask_check import ExaminedMask, examine_mask
from pipeline.product_lines.near_duplicates import THUMBNAIL_SIDE, thumbnail


@dataclass(frozen=True)
class ExaminedImage:
    """What one readable image gave.

    Args:
        record: the image.
        sha256: of the file.
        size: (height, width), upright.
        bit_depth: 8 or 16, as stored.
        channels: 1, 3 or 4, as stored.
        brightest: the largest value of an image of 16 bits, else 0.
        thumbnail: see `near_duplicates.thumbnail`.
        mask: what its mask gave, or why it cannot be used; None without one.
        mosaic: it looks like a Bayer mosaic that nobody spoke of.
    """

    record: ImageRecord
    sha256: str
    size: tuple[int, int]
    bit_depth: int
    channels: int
    brightest: int
    thumbnail: Pixels
    mask: ExaminedMask | UnreadableImage | None
    mosaic: bool


Examined = ExaminedImage | UnreadableImage


def examine_images(
    records: Sequence[ImageRecord],
    *,
    bayer: BayerPattern | None = None,
    limits: ImageLimits | None = None,
    workers: int | None = None,
    on_examined: Callable[[], None] = lambda: None,
) -> list[Examined]:
    """Read every image, and its mask where it has one. Never raises for a bad file: that comes back as a value.

    Args:
        records: the images.
        bayer: every image must be a mosaic of this pattern; None: none is.
        limits: what is refused before decoding; None: what this machine is set to refuse.
        workers: decoding threads; None: one for each processor.
        on_examined: called from this thread for each image, in their order.
    """
    found: list[Examined] = []
    examine = partial(_examine, bayer=bayer, limits=limits or image_limits())
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for image in pool.map(examine, records):
            found.append(image)
            on_examined()
    return found


def _examine(record: ImageRecord, bayer: BayerPattern | None, limits: ImageLimits) -> Examined:
    sha256: str | None = None
    try:
        data = read_bytes(record.path, limits.max_bytes)
        sha256 = hashlib.sha256(data).hexdigest()
        encoded = open_image(data, limits)
        demosaiced(encoded, bayer)  # refuses what is no mosaic; its pixels as stored say the rest
        pixels = encoded.decode(2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE)
    except ImageError as error:
        return UnreadableImage(record.path, sha256, str(error))
    return ExaminedImage(
        record=record,
        sha256=sha256,
        size=encoded.upright_size,
        bit_depth=encoded.bit_depth,
        channels=encoded.channels,
        brightest=brightest_value(pixels) if encoded.bit_depth > 8 else 0,
        thumbnail=thumbnail(pixels, encoded),
        mask=None if record.mask_path is None else examine_mask(record.mask_path, encoded),
        mosaic=bayer is None and looks_like_mosaic(encoded, pixels),
    )
