"""What people say of images, from files and into them: an image on disk, and CSV files as an office writes them."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path

from deploy.reports.rows import cell_text, harmless_cell
from deploy.results.records import NewVerdict, path_text
from deploy.results.schema import Verdict, VerdictRow
from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import image_limits, naming, open_image
from pipeline.storage import replacing_text, storage_errors

COLUMNS = ("image_path", "verdict", "by", "note", "said_at", "image_sha256", "line")
"""Of a written file, in order; a file that is read needs the first two and may have any others."""


def parse_verdict(text: str, where: str = "") -> Verdict:
    """The verdict that a person typed, in any case of letters; `where` is said with a mistake, e.g. " in row 7".

    Raises:
        ConfigError: it is none.
    """
    try:
        return Verdict(text.strip().lower())
    except ValueError as error:
        wanted = " or ".join(Verdict)
        raise ConfigError(f"a verdict, {wanted}{where}", repr(text), f"say {wanted}") from error


def verdict_on(
    image: Path, line: str, verdict: Verdict, *, by: str | None = None, note: str | None = None
) -> NewVerdict:
    """A person's word on the content that an image file has now.

    Raises:
        ImageError: there is no such file, or it is no image that can be used.
    """
    with naming(image):
        data = read_bytes(image, image_limits().max_bytes)
        open_image(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return NewVerdict(line, path_text(image), sha256, verdict, by=by or None, note=note or None)


def read_verdicts(path: Path, line: str) -> list[NewVerdict]:
    """The verdicts in a CSV file: a row an image, under a header.

    The columns are `image_path` and `verdict`, and `by` and `note` where they are there; others are passed over. A
    relative path is one from the file's own folder.

    Raises:
        ConfigError: the file has no such columns or no row, or a row says no verdict, or two say both of one image.
        ImageError: an image cannot be used. All sentences on a row name it, by its line of the file.
        StorageError: the file cannot be read.
    """
    found: dict[str, tuple[int, NewVerdict]] = {}
    for row, cells in _rows(path):
        said = _in_row(path, line, row, cells)
        before = found.setdefault(said.image_sha256, (row, said))
        if before[1].verdict is not said.verdict:
            got = f"{before[1].verdict} in row {before[0]} and {said.verdict} in row {row} of {path}"
            raise ConfigError("one verdict an image", got, "remove the row that is wrong")
    if not found:
        raise ConfigError(f"verdicts in {path}", "none", "write a row for each image under the header")
    return [said for _, said in found.values()]


def write_verdicts(rows: Iterable[VerdictRow], path: Path) -> int:
    """Write verdicts as CSV that `read_verdicts` takes, in the order they come; return how many.

    Raises:
        StorageError: the file cannot be written; an older one is then still there.
    """
    count = 0
    with replacing_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the result
            cells = (row.image_path, row.verdict, row.by, row.note, row.said_at.isoformat(), row.image_sha256, row.line)
            writer.writerow(map(harmless_cell, cells))
    return count


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows under the header, each with its line of the file and its cells by column."""
    try:
        with storage_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns = [name.strip() for name in reader.fieldnames or ()]
            if missing := [name for name in COLUMNS[:2] if name not in columns]:
                got, remedy = repr(", ".join(columns)), "name the columns in the first row, with commas between them"
                raise ConfigError(f"a column {' and a column '.join(missing)} in {path}", got, remedy)
            reader.fieldnames = columns
            return [(reader.line_num, cells) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"a CSV file in UTF-8 at {path}", f"'{error}'", "save it as CSV, UTF-8") from error


def _in_row(path: Path, line: str, row: int, cells: dict[str, str]) -> NewVerdict:
    where = f" in row {row} of {path}"
    if not (name := cells["image_path"].strip()):
        raise ConfigError(f"an image's path{where}", "an empty cell", "write one, or remove the row")
    verdict = parse_verdict(cells["verdict"], where)
    by, note = (cell_text(cells.get(column, "").strip()) for column in ("by", "note"))
    try:
        return verdict_on(path.parent / name, line, verdict, by=by, note=note)
    except ImageError as error:
        raise ImageError(f"{error.expected}{where}", error.got, error.remedy, error.path) from error
