"""The report of a scoring run: one HTML file for people, the same rows as JSON and CSV for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.facts import facts_of
from deploy.bundles.manifest import BundleManifest
from deploy.reports.counts import Counts
from deploy.reports.gallery import GalleryItem
from deploy.reports.histogram import histogram
from deploy.reports.kinds import KindsTable
from deploy.reports.overlay import data_uri
from deploy.reports.page import duration, write_page
from deploy.reports.parts import PartsShown
from pipeline.calibration import Decision
from pipeline.imaging.images import UnreadableImage

MAX_NAMED = 500
"""How many files the page names that are unreadable, and that the model could not judge; it counts all of them."""
MAX_SUPPORT = 16
MAX_REGIONS = 5
"""How many regions an image's table has, and numbers its picture; it counts all of them."""


class NotJudged(NamedTuple):
    """An image that the model gave no finite score: its name, what was decided on it, and why."""

    name: str
    decision: Decision
    reason: str


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything a report shows; nothing in it is bound to a runtime.

    Args:
        manifest: of the bundle that scored.
        started_at: of the run, with a time zone.
        seconds: the run took.
        device: where it ran, in words ("cpu, 2 threads", "NVIDIA H100").
        images_per_second: as measured over the run; None: nothing was new, or the line was one of many.
        source: the folder that was scored.
        counts: of the run's files.
        scores: the finite scores (N,) of every image that has one, also outside the gallery, by what was decided on it.
        gallery: the images to show, see `Gallery`.
        not_judged: images without a finite score; the first of them will do.
        unreadable: files that could not be scored; likewise.
        support: JPEG or PNG bytes of the good support images, as thumbnails.
        files: names of files beside the page (JSON, CSV) to point at.
        notes: sentences a reader should see first, such as how many images were scored before.
        parts: of several views, the worst first; None: each image was judged by itself.
        kinds: what was said of images whose kind of defect is known; None: of none it is.
    """

    manifest: BundleManifest
    started_at: datetime
    seconds: float
    device: str
    images_per_second: float | None
    source: str
    counts: Counts
    scores: Mapping[Decision, NDArray[np.float64]]
    gallery: Sequence[GalleryItem]
    not_judged: Sequence[NotJudged] = ()
    unreadable: Sequence[UnreadableImage] = ()
    support: Sequence[bytes] = ()
    files: Sequence[str] = ()
    notes: Sequence[str] = ()
    parts: PartsShown | None = None
    kinds: KindsTable | None = None


def write_report(path: Path, data: ReportData) -> None:
    """Write the run's page: self-contained, opens from a disk, loads nothing.

    Args:
        path: the HTML file; replaced in one step.
        data: what to show.

    Raises:
        StorageError: the file cannot be written.
        ValueError: a score is not finite, or a picture is neither JPEG nor PNG.
    """
    counts, threshold = data.counts, data.manifest.threshold
    shown = {decision: sum(item.decision is decision for item in data.gallery) for decision in Decision}
    write_page(
        path,
        "report.html.j2",
        style="page.css histogram.css report.css",
        script="report.js",
        context={
            "data": data,
            "threshold": threshold,
            "counts": counts.decisions,
            "not_judged": sum(counts.not_judged.values()),
            "shown": shown,
            "left_out": {
                decision: counts.decisions[decision] - counts.not_judged[decision] - shown[decision]
                for decision in Decision
            },
            "histogram": histogram(data.scores, threshold),
            "decisions": [Decision.REJECT, Decision.REVIEW, Decision.PASS],
            "card": facts_of(data.manifest),
            "duration": duration(data.seconds),
            "data_uri": data_uri,
            "max_named": MAX_NAMED,
            "max_support": MAX_SUPPORT,
            "max_regions": MAX_REGIONS,
        },
    )
