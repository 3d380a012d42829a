"""The files of a data set that is brought over: which goes where, whether all can be read, and the copying."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import ImageError, LineError, StorageError
from pipeline.imaging.files import instead_of_empty, open_ordinary
from pipeline.product_lines.layout_names import GOOD
from pipeline.storage import new_folder
from pipeline.unicode_names import composed

_NOTICES = ("license", "licence", "readme")


@dataclass(frozen=True)
class PlannedFile:
    """One file to bring over: `target` is relative to the destination, "<line>/<split>/<kind>/<file>".

    `contents` is written instead of a copy of the source, such as the mask of labels that are on it; None: the copy.
    """

    source: Path
    target: PurePosixPath
    contents: bytes | None = None


Plan = Iterator[PlannedFile]


def planned_mask(mask: Path, target: PurePosixPath, contents: bytes | None = None) -> PlannedFile:
    """A mask, called as the MVTec AD layout has it: `target` has the name of its image."""
    return PlannedFile(mask, target.with_name(f"{target.stem}_mask{mask.suffix.lower()}"), contents)


def notices(folder: Path, target: PurePosixPath) -> Plan:
    """Licence and readme files: what they say must travel with the images."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stem.lower() in _NOTICES:
            yield PlannedFile(path, target / path.name)


def another_layout(expected: str, source: Path) -> LineError:
    """What is raised where a source does not look like the format that it is said to be in."""
    remedy = instead_of_empty(source, "choose another format or folder")
    return LineError(expected, f"none in {source}", remedy)


def refuse_collisions(plan: Sequence[PlannedFile]) -> None:
    """See that no two files go to one name.

    Raises:
        LineError: two do.
    """
    taken: dict[str, Path] = {}
    for planned in plan:
        key = composed(str(planned.target)).casefold()  # what the destination's file system may not tell apart
        if key in taken:
            got = f"{taken[key]} and {planned.source} for {planned.target}"
            raise LineError("one source file for each name", got, "rename one of them")
        taken[key] = planned.source


def refuse_without_good(plan: Sequence[PlannedFile]) -> None:
    """See that every line of a data set has good training images.

    Raises:
        LineError: one has none.
    """
    for line in {planned.target.parts[0] for planned in plan if len(planned.target.parts) > 1}:
        if not any(planned.target.is_relative_to(f"{line}/train/{GOOD}") for planned in plan):
            raise LineError("good training images in every line", f"none for {line!r}", "check the data set")


def refuse_unreadable(plan: Sequence[PlannedFile]) -> None:
    """See that all sources are ordinary files that may be read: a copy of a device would have no end.

    Raises:
        LineError: one is not.
    """
    for planned in plan:
        try:
            with open_ordinary(planned.source):
                pass
        except ImageError as error:
            got = f"{error.got} at {planned.source}"
            raise LineError("a data set whose files can be read", got, error.remedy) from error


def carry_out(plan: Sequence[PlannedFile], destination: Path, *, link: bool) -> None:
    """Copy or hard-link all files into the new folder `destination`, which is whole or not there.

    Raises:
        StorageError: it cannot be written.
    """
    with new_folder(destination) as partial:
        try:
            for planned in plan:
                target = partial / planned.target
                target.parent.mkdir(parents=True, exist_ok=True)
                if planned.contents is not None:
                    target.write_bytes(planned.contents)
                elif link:
                    target.hardlink_to(planned.source.resolve())
                else:
                    shutil.copyfile(planned.source, target)
        except OSError as error:
            hint = "import without hard links" if link else "check space and permissions there"
            raise StorageError(f"to write the data set to {destination}", error.strerror or str(error), hint) from error
