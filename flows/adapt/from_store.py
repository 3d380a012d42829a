"""What the result store adds to a line's folder: images that people judged, and images of its production."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.results.schema import ResultStatus, Verdict, VerdictRow
from deploy.results.store import ResultStore
from flows.adapt.request import AdaptRequest
from flows.adapt.verdict_masks import box_mask
from flows.unlabelled import Candidate, Candidates
from pipeline.errors import LineError
from pipeline.held_back import is_held_back, to_learn_from
from pipeline.imaging.images import read_file
from pipeline.likeness import UNLIKE
from pipeline.product_lines.layout_names import DEFECT, GOOD
from pipeline.product_lines.left_out import LeftOut, load_distinct_line
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.settings import Settings
from pipeline.unicode_names import one_line

_UNREADABLE = "1"  # stands for the content of a file that has none: it is not held back, and is told as unreadable
_GONE, _CHANGED = "with a verdict but gone", "with a verdict but changed"


@dataclass(frozen=True, kw_only=True)
class KnownLine:
    """A line's labelled images, what is left out of them, and what the result store says of others.

    Args:
        line: with the images that people judged among its own, where they were asked for.
        left_out: of the folder and of the verdicts.
        by_verdict: which of the images are those that people judged.
        judged: the contents that somebody said a verdict of, or that are held back: no unlabelled images.
        production: images that were scored lately, None: they were not asked for.
    """

    line: ProductLine
    left_out: LeftOut
    by_verdict: frozenset[Path] = frozenset()
    judged: frozenset[str] = frozenset()
    production: Candidates | None = None


def know_line(request: AdaptRequest, settings: Settings) -> KnownLine:
    """The line in the request's folder, with what the request asks for of the result store.

    Raises:
        LineError: the folder cannot be used, or says of an image what its verdict does not.
        ConfigError, StorageError: the result store cannot be used.
    """
    known = _known_line(request, settings)
    return without_held_back(known) if request.gate else known


def _known_line(request: AdaptRequest, settings: Settings) -> KnownLine:
    line, left_out = load_distinct_line(request.images)
    if not request.verdicts and request.production_hours is None:
        return KnownLine(line=line, left_out=left_out)
    with ResultStore(settings.database) as store:
        verdicts = store.verdicts(request.line)
        production = None
        if request.production_hours is not None:
            production = _production(store, request.line, request.production_hours)
    known = KnownLine(line=line, left_out=left_out)
    if request.verdicts and verdicts:
        known = with_verdicts(line, left_out, verdicts, settings.line_folder("verdict_masks", request.line))
    elif request.verdicts:
        none = f"The result store has no verdict on images of {request.line}."
        known = replace(known, left_out=replace(left_out, sentences=(*left_out.sentences, none)))
    return replace(known, judged=frozenset(row.image_sha256 for row in verdicts), production=production)


def _production(store: ResultStore, line: str, hours: float) -> Candidates:
    """The images of the line that got a score in the last hours, whatever it was, but for those unlike the line.

    Those that passed alone would only confirm the head that let them pass.
    """
    since = datetime.now(UTC) - timedelta(hours=hours)
    latest: dict[str, Candidate | None] = {}
    for row in store.stream(line=line, status=ResultStatus.SCORED, since=since):  # the latest first
        if row.image_sha256 is None or row.image_sha256 in latest:
            continue
        left_out = row.score is None or (row.reason or "").startswith(UNLIKE)
        latest[row.image_sha256] = None if left_out else Candidate(Path(row.image_path), row.image_sha256)
    files = tuple(candidate for candidate in latest.values() if candidate is not None)
    return Candidates(files=files, where=f"among the images of {line} that were scored in the last {hours:g} hours")


def with_verdicts(line: ProductLine, left_out: LeftOut, verdicts: Sequence[VerdictRow], masks: Path) -> KnownLine:
    """The line with the images that people called good or defective, those that are still where they were.

    What the folder says already adds nothing. A defect's kind is the one that was named; a box drawn round it becomes
    its mask, in the folder `masks`.

    Raises:
        LineError: the folder says of an image what its verdict does not.
        StorageError: a file cannot be read.
    """
    labelled = {_content(record.path): record for record in (*line.test_good, *line.train_good, *line.defects)}
    good, defects = list[ImageRecord](), list[ImageRecord]()
    gone, changed = list[Path](), list[Path]()
    for row in sorted(verdicts, key=lambda row: row.image_path):
        path, defective = Path(row.image_path), row.verdict is Verdict.DEFECTIVE
        if (record := labelled.get(row.image_sha256)) is not None:
            if record.is_defect != defective:
                raise _contradiction(record, row)
            continue
        if (content := _content(path)) != row.image_sha256:
            (gone if content is None else changed).append(path)
            continue
        if defective:
            defects.append(ImageRecord(path, line.name, _kind(row), box_mask(row, masks)))
        else:
            good.append(ImageRecord(path, line.name, GOOD))
    joined = replace(line, train_good=(*line.train_good, *good), defects=(*line.defects, *defects))
    said = (
        *left_out.sentences,
        *_left_out("its image is gone", gone),
        *_left_out("another image has its name", changed),
    )
    counts = {**left_out.counts, _GONE: len(gone), _CHANGED: len(changed)}
    by_verdict = frozenset(record.path for record in (*good, *defects))
    return KnownLine(line=joined, left_out=LeftOut(said, counts), by_verdict=by_verdict)


def without_held_back(known: KnownLine) -> KnownLine:
    """The line without what its versions are compared on; what is held back is no unlabelled image either."""
    line = known.line
    contents = {record.path: _content(record.path) for record in (*line.train_good, *line.defects)}

    def content(record: ImageRecord) -> str:
        return contents[record.path] or _UNREADABLE

    good, defects = (to_learn_from(records, content) for records in (line.train_good, line.defects))
    held_back = frozenset(contents) - {record.path for record in (*good, *defects)}
    counts = {**known.left_out.counts, "held back to compare versions on": len(held_back)}
    said = known.left_out.sentences
    if held_back:
        said = (*said, f"{len(held_back)} of {len(contents)} labelled images are held back to compare versions on.")
    production = known.production
    if production is not None:
        files = tuple(file for file in production.files if file.sha256 is None or not is_held_back(file.sha256))
        production = replace(production, files=files)
    return replace(
        known,
        line=replace(line, train_good=good, defects=defects),
        left_out=LeftOut(said, counts),
        judged=known.judged.union(known_as for path in held_back if (known_as := contents[path]) is not None),
        production=production,
    )


def _kind(row: VerdictRow) -> str:
    return DEFECT if row.kind in (None, GOOD) else row.kind


def _content(path: Path) -> str | None:
    """The hash of a file's bytes, None where there are none to read."""
    return read_file(path).sha256


def _contradiction(record: ImageRecord, row: VerdictRow) -> LineError:
    folder = "defective" if record.is_defect else "good"
    who = f"{row.by}'s verdict" if row.by else "a verdict"
    got = f"{record.path} as {folder} and {who} on the same image, {row.image_path}, as {row.verdict}"
    remedy = "move the file, or say the other verdict with linewise verdicts add"
    return LineError("every image either good or defective", got, remedy)


def _left_out(reason: str, paths: list[Path]) -> tuple[str, ...]:
    if not paths:
        return ()
    verdicts = "1 verdict is" if len(paths) == 1 else f"{len(paths)} verdicts are"
    named = f"{one_line(str(paths[0]))}{f' and {len(paths) - 1} more' if paths[1:] else ''}"
    return (f"{verdicts} left out, as {reason}: {named}.",)
