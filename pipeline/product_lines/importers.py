"""Public data sets into the MVTec AD layout, and labelled images into a line: one function over tables of formats.

An importer only plans: which source file goes where. `import_data_set` carries the plan out in a folder beside the
destination and renames it, so a destination is either whole or not there.

    mvtec        <line>/train/good, test/<kind>, ground_truth/<kind>: checked and copied; also a single line
    mpdd         the same layout
    mvtec3d      <line>/<split>/<kind>/rgb, and gt/ beside it; no point clouds; validation parts are for training
    mvtec_loco   <line>/<split>/<kind>, and ground_truth/<kind>/<image>/ with a mask for each defect, made into one
    mvtec_ad2    <line>/train/good, validation/good, test_public/<kind>, test_public/ground_truth/<kind>
    visa         split_csv/1cls.csv names the split, label and mask of each image
    real_iad     realiad_jsons/<line>.json names them, of images in realiad_<size>/<line>; all views in one line
    btad         <line>/train/ok, test/ok, test/ko, ground_truth/ko
    kolektorsdd  kosNN/PartN.jpg with PartN_label.bmp: one line, "commutator"

Formats of labelling tools are in `pipeline.product_lines.labels.labelled_line`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import ConfigError, LineError, StorageError
from pipeline.imaging.files import instead_of_folder, iter_image_files
from pipeline.imaging.not_read import NotRead
from pipeline.product_lines.labels.labelled_line import READERS, plan_labelled
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.line_sentences import unused_sentences
from pipeline.product_lines.lines import ProductLine, load_line, load_named_line
from pipeline.product_lines.planned_files import (
    Plan,
    PlannedFile,
    carry_out,
    refuse_collisions,
    refuse_unreadable,
    refuse_without_good,
)
from pipeline.product_lines.published_folders import (
    plan_btad,
    plan_kolektorsdd,
    plan_mvtec,
    plan_mvtec3d,
    plan_mvtec_ad2,
    plan_mvtec_loco,
)
from pipeline.product_lines.published_tables import plan_real_iad, plan_visa

IMPORTERS: dict[str, Callable[[Path], Plan]] = {
    "mvtec": plan_mvtec,
    "mpdd": plan_mvtec,
    "mvtec3d": plan_mvtec3d,
    "mvtec_loco": plan_mvtec_loco,
    "mvtec_ad2": plan_mvtec_ad2,
    "visa": plan_visa,
    "real_iad": plan_real_iad,
    "btad": plan_btad,
    "kolektorsdd": plan_kolektorsdd,
}

_ALL_IS_USED = ("mvtec", "mpdd", "mvtec_ad2", "btad")
"""The other formats have images that say nothing more, as masks of good parts."""


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


def _left_out(format: str, source: Path, plan: list[PlannedFile]) -> Iterator[str]:
    """What is said of files in the source that do not come along."""
    planned = {os.path.realpath(planned.source) for planned in plan}
    not_read = NotRead(source)
    unused = tuple(file for file in iter_image_files(source, not_read.see) if os.path.realpath(file) not in planned)
    if format in _ALL_IS_USED:
        yield from unused_sentences(source, unused)
    yield from not_read.sentences
