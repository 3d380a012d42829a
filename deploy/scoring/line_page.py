"""A line's own page of a run, whether it was scored alone or with its plant. Torch-free."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from deploy.bundles.bundle import Bundle
from deploy.reports.gallery import GalleryItem
from deploy.reports.kinds import KindsTable, kinds_table
from deploy.reports.parts import PartsShown
from deploy.reports.report import MAX_NAMED, MAX_SUPPORT, NotJudged, ReportData, write_report
from deploy.scoring.tally import ScoringTally
from pipeline.product_lines.layout_names import meant_by


def write_line_page(
    path: Path,
    bundle: Bundle,
    tally: ScoringTally,
    *,
    gallery: Sequence[GalleryItem],
    source: str,
    started_at: datetime,
    seconds: float,
    device: str,
    images_per_second: float | None = None,
    files: Sequence[str] = (),
    notes: Sequence[str] = (),
    parts: PartsShown | None = None,
    kinds_by_content: Mapping[str, str] | None = None,
) -> None:
    """Write the page of what `tally` counted.

    Args:
        path: the HTML file; its folder exists.
        bundle: that scored.
        tally: of the line's files.
        gallery: see `ReportData`, like what follows.
        source: what was scored.
        started_at: of the run, with a time zone.
        seconds: the run took.
        device: where it ran, in words.
        images_per_second: None: nothing was new, or the line was one of many.
        files: names of files beside the page to point at.
        notes: sentences to read first, besides how many images were scored before.
        parts: of several views; None: each image was judged by itself.
        kinds_by_content: the kinds of defects that people named, by the images' sha256.

    Raises:
        StorageError: the page cannot be written.
        BundleError: a file of the bundle was changed since it was opened.
    """
    counts = tally.counts
    before = (
        f"{counts.skipped:,} of {counts.found:,} images had a score of this bundle already. They count in the numbers "
        "and in the histogram; the gallery shows those of them that were flagged, without their patches."
    )
    write_report(
        path,
        ReportData(
            manifest=bundle.manifest,
            started_at=started_at,
            seconds=seconds,
            device=device,
            images_per_second=images_per_second,
            source=source,
            counts=counts,
            scores=tally.scores_by_decision(),
            gallery=gallery,
            not_judged=_not_judged(tally),
            unreadable=tally.unreadable,
            support=[picture.read_bytes() for picture in bundle.support_paths[:MAX_SUPPORT]],
            files=files,
            notes=[*([before] if counts.skipped else []), *notes],
            parts=parts,
            kinds=_kinds(bundle, tally, kinds_by_content or {}),
        ),
    )


def _kinds(bundle: Bundle, tally: ScoringTally, kinds_by_content: Mapping[str, str]) -> KindsTable | None:
    """Of the flagged files whose kind a person or their folder names, but for those that the line was adapted from.

    Kinds that the line does not know count, too: an image of one is rightly told as none of these.
    """
    record = bundle.manifest.kinds
    if record is None:
        return None
    found, flagged = list[tuple[str, str]](), tally.flagged()
    by_folder = _kinds_by_folder([result.path for result in flagged if result.path is not None], record.names)
    for result in flagged:
        if result.kind is None or result.sha256 is None or result.sha256 in bundle.manifest.support.defects:
            continue
        folder = None if result.path is None else by_folder.get(result.path.parent)
        truth = kinds_by_content.get(result.sha256, folder)
        if truth is not None:
            found.append((truth, result.kind.name))
    return kinds_table(record.names, found)


def _kinds_by_folder(paths: Iterable[Path], known: Collection[str]) -> dict[Path, str]:
    """The kind that a folder names: one that the line knows, or another beside the folder of such a one.

    A folder that stands elsewhere may be called after a day or a camera; "good" or "defects" are no kinds.
    """
    folders = {path.parent for path in paths}
    of_kinds = {folder.parent for folder in folders if folder.name in known}
    named = (folder for folder in folders if folder.parent in of_kinds)
    return {folder: folder.name for folder in named if folder.name in known or meant_by(folder.name) is None}


def _not_judged(tally: ScoringTally) -> list[NotJudged]:
    """Those of the flagged files that have no score; they are the first of them."""
    without = [result for result in tally.flagged() if result.score is None][:MAX_NAMED]
    return [
        NotJudged(result.name, result.decision, result.reason or "")
        for result in without
        if result.decision is not None
    ]
