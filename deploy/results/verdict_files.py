"""What people say of images, from files and into them: an image on disk, and CSV files as an office writes them."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from deploy.reports.rows import cell_text, harmless_cell
from deploy.results.records import NewVerdict, path_text
from deploy.results.schema import QuestionKind, Verdict, VerdictRow
from deploy.results.store import ResultStore
from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import image_limits, naming, open_image
from pipeline.storage import replacing_text, storage_errors
from pipeline.unicode_names import one_line

COLUMNS = (
    *("image_path", "verdict", "by", "note", "said_at", "image_sha256", "line"),
    *("defect_kind", "defect_box", "asked_as", "bundle_id"),
)
"""Of a written file, in order; a file that is read needs the first two and may have any others."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


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

    The columns are `image_path` and `verdict`, and those of `COLUMNS` that are there; others are passed over. A
    relative path is one from the file's own folder. Where a row has a hash, the verdict is of that content, wherever
    the image is by now; where it has a time, it was said then. So what was written comes back as it was.

    Raises:
        ConfigError: the file has no such columns or no row, or a row says no verdict, or two say both of one image at
            one time, or a row is of another line.
        ImageError: an image cannot be used. All sentences on a row name it, by its line of the file.
        StorageError: the file cannot be read.
    """
    found: dict[tuple[str, datetime | None], tuple[int, NewVerdict]] = {}
    for row, cells in _rows(path):
        said = _in_row(path, line, row, cells)
        before = found.setdefault((said.image_sha256, said.said_at), (row, said))
        if before[1].verdict is not said.verdict:
            got = f"{before[1].verdict} in row {before[0]} and {said.verdict} in row {row} of {path}"
            raise ConfigError("one verdict an image", got, "remove the row that is wrong")
    if not found:
        raise ConfigError(f"verdicts in {path}", "none", "write a row for each image under the header")
    return [said for _, said in found.values()]


def remark_on_lines(store: ResultStore, line: str, verdicts: Sequence[NewVerdict]) -> str | None:
    """What to say of images that were never scored for the line: nobody can tell whether they are of it.

    Raises:
        ConfigError: the store knows one of them as another line's only.
    """
    paths = {said.image_sha256: said.image_path for said in verdicts}
    lines = store.lines_of(paths)
    for sha256, known in lines.items():
        if line not in known:
            other = min(known)
            got = f"{paths[sha256]}, which was scored for {other} and never for {line}"
            raise ConfigError(f"images of {line}", got, f"name {other}, or score the image for {line} first")
    if not (never := [path for sha256, path in paths.items() if sha256 not in lines]):
        return None
    more = f" and {len(never) - 1} more" if never[1:] else ""
    return f"Never scored for {line}, so that nobody has seen whether it fits the line: {one_line(never[0])}{more}."


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
            said = (row.image_path, row.verdict, row.by, row.note, row.said_at.isoformat(), row.image_sha256, row.line)
            box = None if row.box is None else " ".join(f"{value:g}" for value in row.box)
            writer.writerow(map(harmless_cell, (*said, row.kind, box, row.question, row.bundle_id)))
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
    others = (cell_text(cells.get(column, "").strip()) for column in COLUMNS[2:])
    by, note, said_at, sha256, of_line, kind, box, question, bundle_id = others
    if of_line not in ("", line):
        raise ConfigError(f"images of {line}{where}", f"one of {of_line}", "import it for that line")
    if sha256:
        if not _SHA256.fullmatch(sha256):
            raise ConfigError(f"a content's SHA-256, 64 digits in hex,{where}", repr(sha256), "leave the cell empty")
        said = NewVerdict(line, path_text(path.parent / name), sha256, verdict, by=by or None, note=note or None)
    else:
        try:
            said = verdict_on(path.parent / name, line, verdict, by=by, note=note)
        except ImageError as error:
            raise ImageError(f"{error.expected}{where}", error.got, error.remedy, error.path) from error
    return said._replace(
        said_at=_time(said_at, where) if said_at else None,
        kind=kind or None,
        box=_box(box, where) if box else None,
        question=_question(question, where) if question else None,
        bundle_id=bundle_id or None,
    )


def _box(text: str, where: str) -> list[float]:
    try:
        left, top, width, height = (float(part) for part in text.split())
    except ValueError:
        left, top, width, height = -1.0, 0.0, 0.0, 0.0
    if not (0 <= left < left + width < math.inf and 0 <= top < top + height < math.inf):
        wanted = f"a box, its left, top, width and height in pixels,{where}"
        raise ConfigError(wanted, repr(text), "write it as 10 20 64 48, or leave the cell empty")
    return [left, top, width, height]


def _question(text: str, where: str) -> QuestionKind:
    try:
        return QuestionKind(text)
    except ValueError as error:
        wanted = f"why it was asked, {' or '.join(QuestionKind)},{where}"
        raise ConfigError(wanted, repr(text), "leave the cell empty where nobody asked") from error


def _time(text: str, where: str) -> datetime:
    try:
        said_at = datetime.fromisoformat(text)
    except ValueError:
        said_at = None
    if said_at is None or said_at.tzinfo is None:
        wanted = f"a time with its zone, such as 2026-03-01T06:30:00+00:00,{where}"
        raise ConfigError(wanted, repr(text), "write it so, or leave the cell empty")
    return said_at
