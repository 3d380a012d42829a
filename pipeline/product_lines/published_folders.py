"""Public data sets whose folders say what an image shows: which file goes where in the MVTec AD layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageError, LineError
from pipeline.imaging.files import iter_image_files, read_bytes
from pipeline.imaging.images import image_limits, open_image
from pipeline.imaging.masks import read_mask
from pipeline.product_lines.layout_names import GOOD
from pipeline.product_lines.lines import load_line
from pipeline.product_lines.mask_pairing import pair_masks
from pipeline.product_lines.planned_files import Plan, PlannedFile, another_layout, notices, planned_mask
from pipeline.system_files import is_passed_over

_AD_2 = "test_public"  # the folders by which a data set is told
_LOCO = "test/logical_anomalies"
_KOLEKTOR_LINE = "commutator"
_KOLEKTOR_TEST_EVERY = 3  # every third commutator's good parts are for testing


def plan_mvtec(source: Path) -> Plan:
    """MVTec AD, and what has its layout."""
    folders = _line_folders(source, "train/good", "an MVTec AD layout")
    for folder in folders:
        _refuse_relatives(folder)
        line = load_line(folder)
        for record in (*line.train_good, *line.test_good, *line.defects):
            relative = PurePosixPath(record.path.relative_to(folder).as_posix())
            yield PlannedFile(record.path, folder.name / relative)
            if record.mask_path is not None:
                place = relative.relative_to("test")
                yield planned_mask(record.mask_path, PurePosixPath(folder.name, "ground_truth", place))
        yield from notices(folder, PurePosixPath(folder.name))
    if folders != [source]:
        yield from notices(source, PurePosixPath())


def plan_mvtec3d(source: Path) -> Plan:
    """MVTec 3D-AD's pictures, without its point clouds; validation parts are for training."""
    for folder in _line_folders(source, "train/good/rgb", "the MVTec 3D-AD layout"):
        line = PurePosixPath(folder.name)
        for split in ("train", "validation", "test"):
            for rgb in sorted(folder.glob(f"{split}/*/rgb")):
                kind = rgb.parent.name
                yield from _of_kind(_images(rgb), kind, line, split, _paired(rgb, rgb.parent / "gt", kind))
        yield from notices(folder, line)


def plan_mvtec_loco(source: Path) -> Plan:
    """MVTec LOCO AD, in which an image has a folder of masks, one for each defect: they become one."""
    for folder in _line_folders(source, _LOCO, "the MVTec LOCO AD layout"):
        line = PurePosixPath(folder.name)
        for split, kind in _kinds(folder, "train", "validation", "test"):
            images = _images(kind)
            yield from _of_kind(images, kind.name, line, split, {})
            for image in images if kind.name != GOOD else ():
                masks = _images(folder / "ground_truth" / kind.name / image.stem)
                if masks:
                    target = line / "ground_truth" / kind.name / image.name
                    yield planned_mask(masks[0], target, _joined(image, masks) if len(masks) > 1 else None)
        yield from notices(folder, line)
    yield from notices(source, PurePosixPath())


def plan_mvtec_ad2(source: Path) -> Plan:
    """MVTec AD 2 without its private test images: nobody published what they show."""
    for folder in _line_folders(source, _AD_2, "the MVTec AD 2 layout"):
        line = PurePosixPath(folder.name)
        for split, kind in _kinds(folder, "train", "validation", _AD_2):
            if kind.name != "ground_truth":
                masks = _paired(kind, kind.parent / "ground_truth" / kind.name, kind.name)
                yield from _of_kind(_images(kind), kind.name, line, split, masks)
        yield from notices(folder, line)
    yield from notices(source, PurePosixPath())


def plan_btad(source: Path) -> Plan:
    """BTAD."""
    for folder in _line_folders(source, "train/ok", "the BTAD layout"):
        line = PurePosixPath(folder.name)
        masks = _paired(folder / "test/ko", folder / "ground_truth/ko", "ko")
        for origin, kind in (("train/ok", GOOD), ("test/ok", GOOD), ("test/ko", "ko")):
            yield from _of_kind(_images(folder / origin), kind, line, origin.partition("/")[0], masks)
    yield from notices(source, PurePosixPath())


def plan_kolektorsdd(source: Path) -> Plan:
    """Good parts are split by commutator: its faces look alike, so they never stand on both sides.

    Every defective part is for testing, whichever commutator it is on: nearly all have one.
    """
    folders = [folder for folder in sorted(source.glob("kos[0-9]*")) if folder.is_dir()]
    if not folders:
        raise another_layout("the KolektorSDD layout with folders kos01, kos02, ...", source)
    line = PurePosixPath(_KOLEKTOR_LINE)
    for index, folder in enumerate(folders):
        good_folder = "test/good" if index % _KOLEKTOR_TEST_EVERY == _KOLEKTOR_TEST_EVERY - 1 else "train/good"
        for image in sorted(folder.glob("Part*.jpg")):
            label = image.with_name(f"{image.stem}_label.bmp")
            name = f"{folder.name}_{image.name}"
            if _mask_of(image, label).any():
                yield PlannedFile(image, line / "test/crack" / name)
                yield planned_mask(label, line / "ground_truth/crack" / name)
            else:
                yield PlannedFile(image, line / good_folder / name)
    yield from notices(source, PurePosixPath())


def _of_kind(
    images: Iterable[Path], kind: str, line: PurePosixPath, split: str, masks: Mapping[Path, Path]
) -> Iterator[PlannedFile]:
    """Images of one kind and the masks that they have; validation images are for training, the rest for testing."""
    target = line / ("train" if split in ("train", "validation") else "test") / kind
    for image in images:
        name = f"validation_{image.name}" if split == "validation" else image.name
        yield PlannedFile(image, target / name)
        if (mask := masks.get(image)) is not None:
            yield planned_mask(mask, line / "ground_truth" / kind / name)


def _kinds(folder: Path, *splits: str) -> Iterator[tuple[str, Path]]:
    """Every split with each of its folders."""
    for split in splits:
        for kind in sorted(folder.glob(f"{split}/*")):
            if kind.is_dir() and not is_passed_over(kind.name):
                yield split, kind


def _paired(folder: Path, masks: Path, kind: str) -> dict[Path, Path]:
    return pair_masks(_images(folder), folder, [masks], flat=False) if kind != GOOD else {}


def _joined(image: Path, masks: Iterable[Path]) -> bytes:
    """One mask of several, as PNG."""
    marked = np.logical_or.reduce([_mask_of(image, mask) for mask in masks])
    encoded, data = cv2.imencode(".png", marked.view(np.uint8) * np.uint8(255), [cv2.IMWRITE_PNG_BILEVEL, 1])
    assert encoded, "OpenCV encodes any uint8 image"
    return data.tobytes()


def _mask_of(image: Path, mask: Path) -> NDArray[np.bool_]:
    """The (h, w) of an image's pixels that its mask marks.

    Raises:
        LineError: one of the two cannot be used.
    """
    try:
        size = open_image(read_bytes(image, image_limits().max_bytes)).upright_size
        return read_mask(mask, size)
    except ImageError as error:
        got = f"{error.got} (for {image})"
        raise LineError(f"a part with its label: {error.expected}", got, "download the data set again") from error


def _refuse_relatives(folder: Path) -> None:
    """See that a line is not in a younger data set's layout, whose masks or tests would be passed over.

    Raises:
        LineError: it is.
    """
    for marker, name, format in ((_LOCO, "LOCO AD", "mvtec_loco"), (_AD_2, "AD 2", "mvtec_ad2")):
        if (folder / marker).is_dir():
            got = f"MVTec {name}'s, with {marker}/ in {folder}"
            raise LineError("an MVTec AD layout", got, f"bring it over: linewise lines import {format}")


def _line_folders(source: Path, marker: str, layout: str) -> list[Path]:
    """The source itself, or the folders in it, that have `marker`."""
    if (source / marker).is_dir():
        return [source.resolve()]
    found = (folder for folder in sorted(source.iterdir()) if not is_passed_over(folder.name))
    folders = [folder for folder in found if (folder / marker).is_dir()]
    if not folders:
        raise another_layout(f"{layout} with <line>/{marker}", source)
    return folders


def _images(folder: Path) -> list[Path]:
    return list(iter_image_files(folder)) if folder.is_dir() else []
