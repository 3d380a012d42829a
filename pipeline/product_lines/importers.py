"""Public data sets into the MVTec AD layout, and labelled images into a line: one function over tables of formats.

An importer only plans: which source file goes where. `import_data_set` carries the plan out in a folder beside the
destination and renames it, so a destination is either whole or not there.

    mvtec        <line>/train/good, test/<kind>, ground_truth/<kind>: checked and copied; also a single line
    mpdd         the same layout
    mvtec3d      <line>/<split>/<kind>/rgb, and gt/ beside it; no point clouds; validation parts are for training
    visa         split_csv/1cls.csv names the split, label and mask of each image
    btad         <line>/train/ok, test/ok, test/ko, ground_truth/ko
    kolektorsdd  kosNN/PartN.jpg with PartN_label.bmp: one line, "commutator"

Formats of labelling tools are in `pipeline.product_lines.labels.labelled_line`.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.errors import ConfigError, ImageError, LineError, StorageError
from pipeline.imaging.files import instead_of_empty, instead_of_folder, iter_image_files, read_bytes
from pipeline.imaging.images import image_limits, open_image
from pipeline.imaging.masks import read_mask
from pipeline.imaging.not_read import NotRead
from pipeline.product_lines.labels.labelled_line import READERS, plan_labelled
from pipeline.product_lines.layout_names import GOOD
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.line_sentences import unused_sentences
from pipeline.product_lines.lines import ProductLine, load_line, load_named_line
from pipeline.product_lines.mask_pairing import pair_masks
from pipeline.product_lines.planned_files import (
    PlannedFile,
    carry_out,
    refuse_collisions,
    refuse_unreadable,
    refuse_without_good,
)
from pipeline.system_files import is_passed_over

_VISA_COLUMNS = ("object", "split", "label", "image", "mask")
_VISA_FOLDERS = {
    ("train", "normal"): "train/good",
    ("test", "normal"): "test/good",
    ("test", "anomaly"): "test/anomaly",
}
_KOLEKTOR_LINE = "commutator"
_KOLEKTOR_TEST_EVERY = 3  # every third commutator's good parts are for testing
_NOTICES = ("license", "licence", "readme")


Plan = Iterator[PlannedFile]


def import_data_set(
    format: str,
    source: Path,
    destination: Path,
    *,
    link: bool = False,
    unlabelled_are_good: bool = False,
    on_remark: Callable[[str], None] = lambda _: None,
) -> list[ProductLine]:
    """Bring a data set over and return its lines, named "<destination>/<line>"; of labelled images, "<destination>".

    Args:
        format: a key of `IMPORTERS`, or a labelling tool's of `READERS`.
        source: the data set as its owner distributes it, unpacked; or images with a tool's files of labels.
        destination: a folder that does not exist yet; it becomes the data-set folder, or the line of labelled images.
        link: hard-link the files instead of copying them (same file system only).
        unlabelled_are_good: images that a labelling tool's files say nothing of are good; else they are left out.
        on_remark: called with a sentence for all that is left out or, as `linewise lines check` has it, odd.

    Raises:
        ConfigError: an unknown format, or `unlabelled_are_good` where nothing is labelled.
        LineError: the source does not look like the format, or the destination exists.
        StorageError: a file cannot be read or written.
    """
    if format not in IMPORTERS and format not in READERS:
        formats = ", ".join((*sorted(IMPORTERS), *sorted(READERS)))
        raise ConfigError(f"a data set format among {formats}", repr(format), "choose one of them")
    if unlabelled_are_good and format not in READERS:
        expected = f"a labelling tool's format for --unlabelled-are-good ({', '.join(sorted(READERS))})"
        raise ConfigError(expected, repr(format), "do without the flag")
    if not source.is_dir():
        got = f"a file, {source}" if source.exists() else f"no such folder as {source}"
        raise LineError(f"a folder with a data set in {format} format", got, instead_of_folder(source))
    if destination.exists() or destination.is_symlink():
        raise LineError("a destination that does not exist yet", str(destination), "choose another or move it away")
    if format in READERS:
        plan = plan_labelled(format, source, unlabelled_are_good=unlabelled_are_good, on_remark=on_remark)
    else:
        plan = _plan_data_set(format, source, on_remark)
    refuse_collisions(plan)
    refuse_unreadable(plan)
    carry_out(plan, destination, link=link)
    lines = [load_line(destination)] if format in READERS else _data_set_lines(plan, destination)
    for line in lines:
        for sentence in check_line(line).told_by_jobs:
            on_remark(f"{line.name}: {sentence}")
    return lines


def _plan_data_set(format: str, source: Path, on_remark: Callable[[str], None]) -> list[PlannedFile]:
    try:
        plan = list(IMPORTERS[format](source))
    except OSError as error:
        got = f"{error.strerror or error} at {error.filename}"
        raise StorageError("a data set that can be listed", got, "grant access to it") from error
    refuse_without_good(plan)
    for sentence in _left_out(format, source, plan):
        on_remark(sentence)
    return plan


def _data_set_lines(plan: list[PlannedFile], destination: Path) -> list[ProductLine]:
    names = sorted({planned.target.parts[0] for planned in plan if len(planned.target.parts) > 1})
    data_set = destination.name
    return [load_named_line(destination / name, name=f"{data_set}/{name}", data_set=data_set) for name in names]


def _plan_mvtec(source: Path) -> Plan:
    folders = _line_folders(source, "train/good", "an MVTec AD layout")
    for folder in folders:
        line = load_line(folder)
        for record in (*line.train_good, *line.test_good, *line.defects):
            relative = PurePosixPath(record.path.relative_to(folder).as_posix())
            yield PlannedFile(record.path, folder.name / relative)
            if record.mask_path is not None:
                place = relative.relative_to(PurePosixPath("test", record.kind)).with_name(
                    _mask_name(record.path, record.mask_path)
                )
                yield PlannedFile(record.mask_path, PurePosixPath(folder.name, "ground_truth", record.kind, place))
        yield from _notices(folder, PurePosixPath(folder.name))
    if folders != [source]:
        yield from _notices(source, PurePosixPath())


def _plan_mvtec3d(source: Path) -> Plan:
    for folder in _line_folders(source, "train/good/rgb", "the MVTec 3D-AD layout"):
        for split, target in (("train", "train"), ("validation", "train"), ("test", "test")):
            for rgb in sorted(folder.glob(f"{split}/*/rgb")):
                kind, images = rgb.parent.name, _images(rgb)
                masks = pair_masks(images, rgb, [rgb.parent / "gt"], flat=False) if kind != GOOD else {}
                for image in images:
                    name = f"validation_{image.name}" if split == "validation" else image.name
                    yield PlannedFile(image, PurePosixPath(folder.name, target, kind, name))
                    if (mask := masks.get(image)) is not None:
                        truth = PurePosixPath(folder.name, "ground_truth", kind, _mask_name(image, mask))
                        yield PlannedFile(mask, truth)
        yield from _notices(folder, PurePosixPath(folder.name))


def _plan_btad(source: Path) -> Plan:
    for folder in _line_folders(source, "train/ok", "the BTAD layout"):
        name = PurePosixPath(folder.name)
        masks = pair_masks(_images(folder / "test/ko"), folder / "test/ko", [folder / "ground_truth/ko"], flat=False)
        for origin, target in (("train/ok", "train/good"), ("test/ok", "test/good"), ("test/ko", "test/ko")):
            for image in _images(folder / origin):
                yield PlannedFile(image, name / target / image.name)
                if (mask := masks.get(image)) is not None:
                    yield PlannedFile(mask, name / "ground_truth/ko" / _mask_name(image, mask))
    yield from _notices(source, PurePosixPath())


def _plan_visa(source: Path) -> Plan:
    table = source / "split_csv" / "1cls.csv"
    if not table.is_file():
        raise _another_layout("the VisA layout with split_csv/1cls.csv", source)
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LineError("a readable CSV table", f"{error} in {table}", "download the data set again") from error
    for number, row in enumerate(rows, start=2):
        where = f"{table} line {number}"
        if any(row.get(column) is None for column in _VISA_COLUMNS):
            raise LineError(f"the columns {', '.join(_VISA_COLUMNS)}", f"fewer in {where}", "download the table again")
        folder = _VISA_FOLDERS.get((row["split"], row["label"]))
        if folder is None:
            got = f"split {row['split']!r} with label {row['label']!r} in {where}"
            raise LineError("train normal, test normal or test anomaly", got, "use VisA's 1cls.csv")
        name = _component(row["object"], where)
        image = _inside(source, row["image"], where)
        yield PlannedFile(image, PurePosixPath(name, folder, image.name))
        if row["mask"]:
            mask = _inside(source, row["mask"], where)
            yield PlannedFile(mask, PurePosixPath(name, "ground_truth/anomaly", _mask_name(image, mask)))
    if not rows:
        raise LineError("a table that names images", f"an empty one, {table}", "download the data set again")
    yield from _notices(source, PurePosixPath())


def _plan_kolektorsdd(source: Path) -> Plan:
    """Good parts are split by commutator: its faces look alike, so they never stand on both sides.

    Every defective part is for testing, whichever commutator it is on: nearly all have one.
    """
    folders = [folder for folder in sorted(source.glob("kos[0-9]*")) if folder.is_dir()]
    if not folders:
        raise _another_layout("the KolektorSDD layout with folders kos01, kos02, ...", source)
    line = PurePosixPath(_KOLEKTOR_LINE)
    for index, folder in enumerate(folders):
        good_folder = "test/good" if index % _KOLEKTOR_TEST_EVERY == _KOLEKTOR_TEST_EVERY - 1 else "train/good"
        for image in sorted(folder.glob("Part*.jpg")):
            label = image.with_name(f"{image.stem}_label.bmp")
            name = f"{folder.name}_{image.name}"
            if _is_defective(image, label):
                yield PlannedFile(image, line / "test/crack" / name)
                yield PlannedFile(label, line / "ground_truth/crack" / f"{folder.name}_{image.stem}_mask.bmp")
            else:
                yield PlannedFile(image, line / good_folder / name)
    yield from _notices(source, PurePosixPath())


IMPORTERS: dict[str, Callable[[Path], Plan]] = {
    "mvtec": _plan_mvtec,
    "mpdd": _plan_mvtec,
    "mvtec3d": _plan_mvtec3d,
    "visa": _plan_visa,
    "btad": _plan_btad,
    "kolektorsdd": _plan_kolektorsdd,
}

_ALL_IS_USED = ("mvtec", "mpdd", "btad")  # the other formats have images that say nothing more, as masks of good parts


def _left_out(format: str, source: Path, plan: list[PlannedFile]) -> Iterator[str]:
    """What is said of files in the source that do not come along."""
    planned = {os.path.realpath(planned.source) for planned in plan}
    not_read = NotRead(source)
    unused = tuple(file for file in iter_image_files(source, not_read.see) if os.path.realpath(file) not in planned)
    if format in _ALL_IS_USED:
        yield from unused_sentences(source, unused)
    yield from not_read.sentences


def _is_defective(image: Path, label: Path) -> bool:
    try:
        size = open_image(read_bytes(image, image_limits().max_bytes)).upright_size
        return bool(read_mask(label, size).any())
    except ImageError as error:
        got = f"{error.got} (for {image})"
        raise LineError(f"a part with its label: {error.expected}", got, "download the data set again") from error


def _line_folders(source: Path, marker: str, layout: str) -> list[Path]:
    """The source itself, or the folders in it, that have `marker`."""
    if (source / marker).is_dir():
        return [source.resolve()]
    found = (folder for folder in sorted(source.iterdir()) if not is_passed_over(folder.name))
    folders = [folder for folder in found if (folder / marker).is_dir()]
    if not folders:
        raise _another_layout(f"{layout} with <line>/{marker}", source)
    return folders


def _another_layout(expected: str, source: Path) -> LineError:
    remedy = instead_of_empty(source, "choose another format or folder")
    return LineError(expected, f"none in {source}", remedy)


def _images(folder: Path) -> list[Path]:
    return list(iter_image_files(folder)) if folder.is_dir() else []


def _notices(folder: Path, target: PurePosixPath) -> Plan:
    """Licence and readme files: what they say must travel with the images."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stem.lower() in _NOTICES:
            yield PlannedFile(path, target / path.name)


def _mask_name(image: Path, mask: Path) -> str:
    return f"{image.stem}_mask{mask.suffix.lower()}"


def _component(name: str, where: str) -> str:
    """A name that is one ordinary part of a path."""
    if not name or name.startswith(".") or any(character in name for character in "/\\\0"):
        raise LineError("a plain folder name", f"{name!r} in {where}", "correct the table")
    return name


def _inside(source: Path, relative: str, where: str) -> Path:
    """A file named by a table, which must stay inside the source, also through links."""
    root = source.resolve()
    path = Path(os.path.realpath(root / relative.replace("\0", "")))  # unlike resolve, it bears links that loop
    if not path.is_relative_to(root):
        raise LineError("a path inside the data set", f"{relative!r} in {where}", "correct the table")
    if not path.is_file():
        raise LineError(
            "a file that the data set has", f"no {relative!r}, named in {where}", "unpack the whole data set"
        )
    return path
