"""The images that versions of a line are compared on: labelled, judged or of its production, and learned by none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar

from deploy.bundles.manifest import BundleManifest
from deploy.results.schema import QuestionKind, ResultStatus, Verdict, VerdictRow
from deploy.results.store import ResultStore
from flows.calibrate.new_images import Kind
from flows.gate.request import ComparedOn
from pipeline.imaging.images import read_file
from pipeline.likeness import UNLIKE
from pipeline.product_lines.left_out import load_distinct_line
from pipeline.promise import counted_interval
from pipeline.settings import Settings

_MOST_ROWS = 20_000
"""Results of the production that are looked through, the latest: of a longer window only they count."""

_LEAST_ASKED = 50
"""Answers to random questions from which the share of defects is taken: fewer leave its interval too wide."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EvidenceImage:
    """An image to compare on.

    Args:
        name: what it is called.
        path: where it lies.
        sha256: its content.
        kind: what is known of it.
        produced: it belongs to the sample of the production.
        contested: it was spoken of as versions decide it otherwise: it says nothing of how often they do, or are right.
        filed: what is known of it says the line's folder, not a person's word.
        gone: it was seen at an earlier look, and is there no more: nobody can be asked about it.
    """

    name: str
    path: Path
    sha256: str
    kind: Kind
    produced: bool = False
    contested: bool = False
    filed: bool = False
    gone: bool = False

    @property
    def askable(self) -> bool:
        """Whether people can be asked what it shows, and have not said it."""
        return self.kind is Kind.UNLABELLED and not self.gone


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The images, each content once, and how many were left out, by reason.

    `labelled`: by content, every image of which it is known what it shows, also of more than are compared on.
    `defect_share`: of the production, 0..1, at most: the upper end of its interval from the answers to random questions
    on the line, whichever version had scored; None: there are too few.
    """

    images: tuple[EvidenceImage, ...]
    left_out: dict[str, int]
    labelled: Mapping[str, EvidenceImage] = field(default_factory=dict[str, EvidenceImage])
    defect_share: float | None = None


def find_evidence(line: str, asked: ComparedOn, versions: Sequence[BundleManifest], settings: Settings) -> Evidence:
    """What the versions can be compared on.

    An image counts once: as what people said of it, else as what the line's folder says. Whatever they say, it may
    belong to the sample of the production, too: those contents of it whose SHA-256 comes first, which is a uniform
    sample, and nearly the same one each time, so that what people say of it still tells something at the next look.

    Raises:
        LineError: the folder cannot be used.
        ConfigError, StorageError: the result store, or a file of the folder, cannot be used.
    """
    known, left_out = contents_known_to(versions), Counter[str]()
    found, production = dict[str, EvidenceImage](), dict[str, EvidenceImage]()

    with ResultStore(settings.database) as store:
        words, all_words = store.verdicts(line), store.verdicts(line, overruled=True)
        contested = _contested(all_words)

        def take(name: str, path: Path, sha256: str, kind: Kind, *, filed: bool = False) -> None:
            if sha256 in known:
                left_out["learned by one of the versions"] += 1
            elif sha256 not in found:
                found[sha256] = EvidenceImage(
                    name=name, path=path, sha256=sha256, kind=kind, contested=sha256 in contested, filed=filed
                )

        for row in words:
            kind = Kind.DEFECT if row.verdict is Verdict.DEFECTIVE else Kind.GOOD
            take(Path(row.image_path).name, Path(row.image_path), row.image_sha256, kind)
        for name, path, kind in _labelled(asked.images) if asked.images is not None else ():
            if (sha256 := read_file(path).sha256) is not None:
                take(name, path, sha256, kind, filed=True)
        since = datetime.now(UTC) - timedelta(hours=asked.stream_hours)
        rows = store.stream(line=line, status=ResultStatus.SCORED, since=since)
        for row in islice(rows, _MOST_ROWS):
            content, path = row.image_sha256, Path(row.image_path)
            if content is None or content in known or content in production or (row.reason or "").startswith(UNLIKE):
                continue
            image = EvidenceImage(name=path.name, path=path, sha256=content, kind=Kind.UNLABELLED)
            production[content] = replace(found.get(content, image), produced=True)
    sample = [production[content] for content in sorted(production)[: asked.most_images]]
    chosen = {image.sha256: image for image in sample}
    for kind in (Kind.GOOD, Kind.DEFECT):
        alike = [image for image in found.values() if image.kind is kind and not image.contested]
        for image in _evenly(alike, asked.most_images):
            chosen.setdefault(image.sha256, image)
    return Evidence(
        images=tuple(chosen.values()),
        left_out=dict(left_out),
        labelled=found,
        defect_share=_defect_share(all_words),
    )


def _contested(words: Sequence[VerdictRow]) -> frozenset[str]:
    """The contents that people spoke of as they were contested; one that they were also asked about at random is not
    among them: it would have been asked about anyway.
    """
    asked = {
        kind: {word.image_sha256 for word in words if word.question is kind}
        for kind in (QuestionKind.CONTESTED, QuestionKind.RANDOM)
    }
    return frozenset(asked[QuestionKind.CONTESTED] - asked[QuestionKind.RANDOM])


def _defect_share(words: Sequence[VerdictRow]) -> float | None:
    """From all words that were not withdrawn, the latest first: an image that was asked about at random counts once,
    as what was last said of it, also where that was no answer to a question any more.
    """
    asked = {word.image_sha256 for word in words if word.question is QuestionKind.RANDOM}
    if len(asked) < _LEAST_ASKED:
        return None
    last = {word.image_sha256: word.verdict for word in reversed(words)}
    return counted_interval(sum(last[sha256] is Verdict.DEFECTIVE for sha256 in asked), len(asked))[1]


def contents_known_to(versions: Iterable[BundleManifest]) -> frozenset[str]:
    """The contents that any of the versions learned, took up or not, or has its threshold from."""
    known: set[str] = set()
    for manifest in versions:
        support, calibration = manifest.support, manifest.calibration
        known.update(support.good, support.defects, support.not_taken_up)
        if calibration is not None:
            known.update(calibration.good, calibration.defects, calibration.unlabelled)
    return frozenset(known)


def _labelled(folder: Path) -> Iterable[tuple[str, Path, Kind]]:
    line, _ = load_distinct_line(folder)
    for record in (*line.train_good, *line.test_good, *line.defects):
        kind = Kind.DEFECT if record.is_defect else Kind.GOOD
        yield str(record.path.relative_to(line.root)), record.path, kind


def _evenly(images: Sequence[T], most: int) -> list[T]:
    if len(images) <= most:
        return list(images)
    return [images[index * len(images) // most] for index in range(most)]
