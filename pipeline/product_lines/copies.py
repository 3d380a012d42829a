"""Images of a line that are the same file: each content counts once in what is learned from."""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pipeline.errors import LineError
from pipeline.product_lines.examined_images import ExaminedImage, examine_images
from pipeline.product_lines.line_report import DuplicateGroup, place
from pipeline.product_lines.line_sentences import named
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.storage import sha256_file, storage_errors

_PIECE_BYTES = 16_384


def find_copies(line: ProductLine) -> tuple[DuplicateGroup, ...]:
    """The groups of equal files among a line's images, in their order. Few are read whole: see `equal_files`.

    Equal files that are no image, such as two lost downloads, are no group: whoever decodes them says so.

    Raises:
        StorageError: a file cannot be read.
    """
    places = {record.path: place(record.kind, in_training=True) for record in line.train_good}
    places |= {record.path: place(record.kind, in_training=False) for record in (*line.test_good, *line.defects)}
    order = {path: index for index, path in enumerate(places)}
    groups = sorted(equal_files(places), key=lambda group: order[group[1][0]])
    examined = examine_images([ImageRecord(paths[0], line.name, "") for _, paths in groups])
    return tuple(
        DuplicateGroup(sha256, paths, tuple(sorted({places[path] for path in paths})))
        for (sha256, paths), image in zip(groups, examined, strict=True)
        if isinstance(image, ExaminedImage)
    )


def without_copies(line: ProductLine, copies: Iterable[DuplicateGroup]) -> ProductLine:
    """The line with each content once among its training images, and once among its defects, with a mask where one has;
    without test images that are among the training images.

    Raises:
        LineError: a good image has the content of a defective one.
    """
    content = {path: group.sha256 for group in copies for path in group.paths}
    for group in copies:
        if group.good_and_defective:
            got = f"a good and a defective image that are the same file: {named(line.root, group.paths)} in {line.root}"
            raise LineError("every image either good or defective", got, "remove it where it does not belong")
    learned = {content[record.path] for record in line.train_good if record.path in content}
    return replace(
        line,
        train_good=_distinct(line.train_good, content),
        test_good=tuple(record for record in line.test_good if content.get(record.path) not in learned),
        defects=_distinct(line.defects, content),
    )


def _distinct(records: tuple[ImageRecord, ...], content: dict[Path, str]) -> tuple[ImageRecord, ...]:
    kept: dict[str | Path, ImageRecord] = {}
    for record in records:
        key = content.get(record.path, record.path)
        if key not in kept or (kept[key].mask_path is None and record.mask_path is not None):
            kept[key] = record
    return tuple(sorted(kept.values(), key=lambda record: record.path))


def equal_files(paths: Iterable[Path]) -> list[tuple[str, tuple[Path, ...]]]:
    """Content hash and files of each group of two or more files with the very same bytes, in the order given.

    Only files that agree in size and in a piece from their middle are read whole. What is empty, no ordinary file or
    cannot be read is nobody's equal: whoever decodes it says so.

    Raises:
        StorageError: a file cannot be read to its end.
    """
    groups = [group for size, group in _grouped(paths, _size) if size]
    groups = [smaller for group in groups for _, smaller in _grouped(group, _piece)]
    return [(sha256, tuple(same)) for group in groups for sha256, same in _grouped(group, _sha256)]


_Key = TypeVar("_Key", bound=Hashable)


def _grouped(paths: Iterable[Path], key: Callable[[Path], _Key]) -> list[tuple[_Key, list[Path]]]:
    groups: dict[_Key, list[Path]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return [(found, group) for found, group in groups.items() if len(group) > 1]


def _size(path: Path) -> int:
    """In bytes; 0 of what is no ordinary file."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _piece(path: Path) -> bytes | Path:
    """Some bytes from the middle; of a file that cannot be read its own path, which no other file has."""
    try:
        with path.open("rb") as file:
            file.seek(path.stat().st_size // 2)
            return file.read(_PIECE_BYTES)
    except OSError:
        return path


def _sha256(path: Path) -> str:
    with storage_errors(path):
        return sha256_file(path)
