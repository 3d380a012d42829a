"""A folder of labelled images as a line: `good/`, `defect/<kind>/` and `masks/<kind>/`, whole or not at all.

    labelme       a JSON file beside each image          yolo           a text for each image, and a table of names
    coco          one JSON file, or one for each split   label_studio   the JSON export, and the images that it is of
    cvat          the XML of "CVAT for images 1.1"       pascal_voc     an XML file for each image

Images that the labels name without a defect are good ones; of those that they do not name nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageError, LineError
from pipeline.imaging.encoded import EncodedImage, size_text
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import image_limits, open_image
from pipeline.imaging.orientation import turn_upright
from pipeline.product_lines.labels.coco import read_coco
from pipeline.product_lines.labels.cvat import read_cvat
from pipeline.product_lines.labels.label_files import LabelSource, labels_in, plain_kind
from pipeline.product_lines.labels.label_studio import read_label_studio
from pipeline.product_lines.labels.labelled_image import LabelledImage, Reader
from pipeline.product_lines.labels.labelme import read_labelme
from pipeline.product_lines.labels.pascal_voc import read_pascal_voc
from pipeline.product_lines.labels.shapes import mask_of
from pipeline.product_lines.labels.yolo import read_yolo
from pipeline.product_lines.layout_names import DEFECT, GOOD, MASKS, meant_by, surely_masks
from pipeline.product_lines.line_sentences import how_many, named
from pipeline.product_lines.mask_pairing import refuse_masks_beside
from pipeline.product_lines.planned_files import PlannedFile
from pipeline.unicode_names import composed

READERS: dict[str, Reader] = {
    "labelme": read_labelme,
    "coco": read_coco,
    "yolo": read_yolo,
    "cvat": read_cvat,
    "label_studio": read_label_studio,
    "pascal_voc": read_pascal_voc,
}
"""A reader for each tool's labels."""


@dataclass(frozen=True)
class _Part:
    """An image and its kind, "good" or a defect's; `kinds` are all on it, `mask` a PNG where labels have places."""

    path: Path
    kind: str
    kinds: tuple[str, ...] = ()
    mask: bytes | None = None
    place: str = ""


def plan_labelled(
    format: str, root: Path, *, unlabelled_are_good: bool, on_remark: Callable[[str], None]
) -> list[PlannedFile]:
    """The files of the line that a folder of labelled images becomes, relative to the line's folder.

    Args:
        format: a key of `READERS`.
        root: the folder, with the tool's files anywhere in it.
        unlabelled_are_good: images that the tool's files say nothing of are good; else they are left out.
        on_remark: called with a sentence on what is taken for good, left out, or of several kinds.

    Raises:
        LineError: labels that cannot be used, the first of them; or no good image.
        StorageError: the folder cannot be listed.
    """
    source = LabelSource(root)
    parts = [_part(labelled) for labelled in _distinct(source, READERS[format](source))]
    labelled = {part.path for part in parts}
    unlabelled = [image for image in source.images if image not in labelled]
    for sentence in _sentences(source.root, parts, unlabelled, unlabelled_are_good=unlabelled_are_good):
        on_remark(sentence)
    for sentence in source.not_read.sentences:
        on_remark(sentence)
    if unlabelled_are_good:
        parts += [_Part(image, GOOD) for image in unlabelled]
    if all(part.kind != GOOD for part in parts):
        remedy = "add images of good parts, or --unlabelled-are-good where the images without labels are"
        raise LineError("images of good parts", f"none among {how_many(parts, 'labelled image')}", remedy)
    return list(_planned(parts))


def _distinct(source: LabelSource, images: Iterator[LabelledImage]) -> Iterator[LabelledImage]:
    places: dict[Path, str] = {}
    for image in images:
        if image.path in places:
            got = f"two for {source.place(image.path)}, in {places[image.path]} and in {image.place}"
            raise LineError("the labels of an image in one place", got, "remove those that are not meant")
        places[image.path] = image.place
        yield image


def _part(image: LabelledImage) -> _Part:
    """The kind of an image is the one that marks most of it; its mask is of all."""
    defects = [label for label in image.labels if meant_by(label.kind) != GOOD]
    with labels_in(image.place):
        kinds = tuple(sorted({plain_kind(label.kind) for label in defects}))
        shapes = {kind: [s for label in defects if label.kind == kind for s in label.shapes] for kind in kinds}
        if not any(shapes.values()):
            return _Part(image.path, kinds[0] if kinds else GOOD, kinds, place=image.place)
        encoded = _open(image.path)
        size, turn = _drawn_on(image.size, encoded)
        masks = {kind: mask_of(of_kind, size) for kind, of_kind in shapes.items()}
    most = max(kinds, key=lambda kind: np.count_nonzero(masks[kind]))
    marked = np.logical_or.reduce(list(masks.values()))
    return _Part(image.path, most, kinds, _png(turn_upright(marked.view(np.uint8), turn)), image.place)


def _open(path: Path) -> EncodedImage:
    try:
        return open_image(read_bytes(path, image_limits().max_bytes))
    except ImageError as error:
        raise LineError(error.expected, f"{error.got} at {path}", error.remedy) from error


def _drawn_on(stated: tuple[int, int] | None, image: EncodedImage) -> tuple[tuple[int, int], int]:
    """The (height, width) on which labels were drawn, and the EXIF orientation that turns those pixels upright.

    Some versions of the tools show an image as it is stored, others upright; where both are of one size, upright.
    """
    upright = image.upright_size
    stored = (upright[1], upright[0]) if image.label >= 5 else upright
    if stated is None or stated == upright:
        return upright, 1
    if stated == stored:
        return stored, image.label
    expected = f"labels drawn on the image's {size_text(upright)}"
    raise LineError(expected, size_text(stated), "bring the images that were labelled, at their own size")


def _png(mask_HW: NDArray[np.uint8]) -> bytes:
    encoded, data = cv2.imencode(".png", mask_HW * np.uint8(255), [cv2.IMWRITE_PNG_BILEVEL, 1])
    assert encoded
    return data.tobytes()


def _sentences(
    root: Path, parts: Sequence[_Part], unlabelled: Sequence[Path], *, unlabelled_are_good: bool
) -> Iterator[str]:
    good = [part.path for part in parts if part.kind == GOOD]
    if good:
        yield f"{how_many(good, 'image')} taken for good parts, as the labels name no defect: {named(root, good)}."
    several = [part.path for part in parts if len(part.kinds) > 1]
    if several:
        verb = "counts" if len(several) == 1 else "count"
        yield (
            f"{how_many(several, 'image')} with several kinds of defects {verb} as the kind that marks most: "
            f"{named(root, several)}."
        )
    if unlabelled:
        become = "taken for good parts" if unlabelled_are_good else "left out"
        hint = "" if unlabelled_are_good else "; where they are good parts, say --unlabelled-are-good"
        yield f"{how_many(unlabelled, 'image')} without labels {become}: {named(root, unlabelled)}{hint}."


def _planned(parts: Sequence[_Part]) -> Iterator[PlannedFile]:
    refuse_masks_beside([part.path for part in parts])
    top = Path(commonpath([part.path.parent for part in parts]))
    taken: dict[str, Path] = {}
    for part in sorted(parts, key=lambda part: part.path):
        below = PurePosixPath(part.path.relative_to(top).as_posix())
        place = below if part.kind == GOOD else PurePosixPath(part.kind, below)
        if any(surely_masks(name) for name in place.parts[:-1]):
            got = f"{place.parent}/ for {part.path.name}"
            raise LineError("kinds and folders of images that are not called as masks are", got, "rename it")
        if part.kind == GOOD:
            yield PlannedFile(part.path, GOOD / place)
            continue
        other = taken.setdefault(composed(place.with_suffix("").as_posix()).casefold(), part.path)
        if other != part.path:
            got = f"{other} and {part.path}"
            raise LineError("images that differ in more than their suffix", got, "rename one, and its labels")
        yield PlannedFile(part.path, DEFECT / place)
        if part.mask is not None:
            yield PlannedFile(part.path, MASKS / place.with_suffix(".png"), contents=part.mask)
