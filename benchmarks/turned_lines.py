"""Lines whose parts lie at any angle, made from real ones that do not: every image turned by an angle of its own.

A part that stands free before an even background is turned in the central square of its image, whose corners then show
that background mirrored. A surface that fills its image is turned and cut to the square that stays inside for every
angle: nothing is invented, and of a defect outside it nothing is left; such images are left out.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.augmentations import turned
from pipeline.imaging.images import read_native
from pipeline.product_lines.lines import ImageRecord, ProductLine, load_named_line
from pipeline.storage import sha256_file
from pipeline.support import read_defect_mask

FREE = ("cookie", "hazelnut", "metal_plate", "pill")
SURFACES = ("board12100", "board20085", "board92000", "commutator", "glassfiber", "tile")
_TRAIN, _TEST = 20, 40


def angle_of(record: ImageRecord) -> float:
    """By how many degrees its image is turned: a draw that its file's hash decides."""
    return 360 * int(sha256_file(record.path)[:8], 16) / 2**32


def turn_line(line: ProductLine, folder: Path) -> ProductLine:
    """The line with every image and mask turned, written below `folder`; at most 20 + 40 good and 40 defective ones."""
    target = folder / line.name
    for records, place in ((line.train_good[:_TRAIN], "train/good"), (line.test_good[:_TEST], "test/good")):
        for record in records:
            write_image(target / place / f"{record.path.stem}.png", _view(read_native(record.path), record))
    for record in _spread(line.defects):
        mask = read_defect_mask(record)
        seen = None if mask is None else _view(mask.astype(np.uint8) * 255, record) > 127
        if seen is None or seen.any():
            place = target / "test" / record.kind / f"{record.path.stem}.png"
            write_image(place, _view(read_native(record.path), record))
        if seen is not None and seen.any():
            place = target / "ground_truth" / record.kind / f"{record.path.stem}_mask.png"
            write_image(place, seen.astype(np.uint8) * 255)
    return load_named_line(target, name=line.name, data_set=line.data_set)


def _spread(records: tuple[ImageRecord, ...]) -> list[ImageRecord]:
    """At most 40 of the records, evenly over their order, so that every kind is among them."""
    return [records[i] for i in np.unique(np.linspace(0, len(records) - 1, _TEST).astype(int))]


def _view(image: NDArray[np.uint8], record: ImageRecord) -> NDArray[np.uint8]:
    side = min(image.shape[:2])
    seen = turned(_central(image, side), angle_of(record))
    return _central(seen, int(side / 2**0.5)) if record.line.split("/")[-1] in SURFACES else seen


def _central(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a PNG, uint8 RGB (H, W, 3) or grey (H, W); folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image[..., ::-1] if image.ndim == 3 else image
    path.write_bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
