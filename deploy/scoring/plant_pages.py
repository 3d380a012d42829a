"""The pages of a plant's run: one for the plant, and a line's own for each line and bundle. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from deploy.bundles.line_folder import slug
from deploy.reports.gallery import Gallery, GalleryItem
from deploy.reports.plant_report import PlantLine, PlantReport, write_plant_report
from deploy.scoring.line_page import write_line_page
from deploy.scoring.line_scoring import LineScoring
from deploy.scoring.pictures import Pictures
from deploy.scoring.plant_summary import PlantSummary
from pipeline.storage import make_folder_of

SHOWN_OF_A_LINE = 8
"""Flagged images on a line's own page. They are drawn from the overlays on disk, which costs a plant of many lines less
than keeping pictures of every line in memory while it is scored."""


def write_pages(
    path: Path,
    summary: PlantSummary,
    *,
    name: str,
    source: str,
    started_at: datetime,
    device: str,
    remarks: Sequence[str],
    workers: int | None,
    files: Sequence[str] = (),
) -> None:
    """Write the plant's page to `path`, and each line's to `<stem>_lines/<line>/<version>.html` beside it.

    Args:
        path: of the plant's page; its folder exists.
        summary: of the run.
        name: what people call the plant.
        source: the folder that was scored.
        started_at: of the run, with a time zone.
        device: where it ran, in words.
        remarks: on how the folder behaved.
        workers: lines whose pages are written at once; None: a few for each CPU.
        files: names of files beside the plant's page (JSON, CSV) to point at.

    Raises:
        StorageError: a page cannot be written.
        BundleError: a bundle's files were changed since it was opened.
    """

    def write(line: LineScoring, page: str) -> PlantLine:
        make_folder_of(path.parent / page)
        write_line_page(
            path.parent / page,
            line.bundle,
            line.tally,
            gallery=_gallery(line),
            source=source,
            started_at=started_at,
            seconds=summary.seconds,
            device=device,
            parts=None if line.parts is None else line.parts.tally.shown,
        )
        return PlantLine(
            line=line.line,
            version=line.version,
            threshold=line.bundle.manifest.threshold,
            scores=line.tally.scores_by_decision(),
            counts=line.tally.counts,
            report=page,
        )

    scored = sorted(summary.lines, key=lambda line: line.line)
    with ThreadPoolExecutor(workers, thread_name_prefix="linewise-pages") as pool:
        lines = list(pool.map(write, scored, _page_names(path.stem, scored)))
    skipped = f"{summary.skipped_images} images got no decision, as no line could be used for them, see below."
    write_plant_report(
        path,
        PlantReport(
            name=name,
            source=source,
            started_at=started_at,
            seconds=summary.seconds,
            device=device,
            images_per_second=summary.images_per_second,
            backbones=summary.backbones,
            lines=lines,
            left_out=[*summary.problems, *summary.skipped.values()],
            files=files,
            notes=[*([skipped] if summary.skipped_images else []), *remarks],
        ),
    )


def _page_names(stem: str, lines: Sequence[LineScoring]) -> list[str]:
    """A page for each; a bundle that was rolled back to on the way has one for each time."""
    names: list[str] = []
    times: Counter[str] = Counter()
    for line in lines:
        name = f"{stem}_lines/{slug(line.line)}/{line.version}"
        times[name] += 1
        names.append(f"{name}.html" if times[name] == 1 else f"{name} ({times[name]}).html")
    return names


def _gallery(line: LineScoring) -> list[GalleryItem]:
    """The line's flagged images with the highest scores, under the overlays that scoring wrote."""
    gallery = Gallery(max_flagged=SHOWN_OF_A_LINE, near_passes=0, random_passes=0)
    pictures = Pictures(gallery, line.bundle)
    for result in [result for result in line.tally.flagged() if result.score is not None][:SHOWN_OF_A_LINE]:
        pictures.take(result, None)
    return gallery.items()
