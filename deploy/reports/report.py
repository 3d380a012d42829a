"""The report of a scoring run: one HTML file for people, the same rows as JSON and CSV for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.manifest import BundleManifest
from deploy.reports.card import card_sections
from deploy.reports.gallery import GalleryItem
from deploy.reports.histogram import histogram
from deploy.reports.overlay import data_uri
from deploy.reports.page import duration, write_page
from pipeline.calibration import Decision, Threshold
from pipeline.imaging.images import UnreadableImage

MAX_UNREADABLE = 500
MAX_SUPPORT = 16


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
        scores: (N,) of every scored image, also those outside the gallery.
        gallery: the images to show, see `Gallery`.
        unreadable: files that could not be scored.
        threshold: None: the manifest's.
        support: JPEG or PNG bytes of the good support images, as thumbnails.
        files: names of files beside the page (JSON, CSV) to point at.
        notes: sentences a reader should see first (already scored images left out, a drift warning).
    """

    manifest: BundleManifest
    started_at: datetime
    seconds: float
    device: str
    images_per_second: float | None
    source: str
    scores: NDArray[np.floating]
    gallery: Sequence[GalleryItem]
    unreadable: Sequence[UnreadableImage] = ()
    threshold: Threshold | None = None
    support: Sequence[bytes] = ()
    files: Sequence[str] = ()
    notes: Sequence[str] = ()


def write_report(path: Path, data: ReportData) -> None:
    """Write the run's page: self-contained, opens from a disk, loads nothing.

    Args:
        path: the HTML file; replaced in one step.
        data: what to show.

    Raises:
        StorageError: the file cannot be written.
        ValueError: a score is not finite, or a picture is neither JPEG nor PNG.
    """
    if data.scores.ndim != 1 or not np.isfinite(data.scores).all():
        raise ValueError(f"expected finite scores of shape (N,), got {data.scores.dtype} {data.scores.shape}")
    threshold = data.threshold or data.manifest.threshold
    scores = data.scores.astype(np.float64)  # numpy would round the threshold to float32, and decide otherwise
    counts = _counts(scores, threshold)
    shown = {decision: sum(item.decision is decision for item in data.gallery) for decision in Decision}
    write_page(
        path,
        "report.html.j2",
        style="page.css report.css",
        script="report.js",
        context={
            "data": data,
            "threshold": threshold,
            "counts": counts,
            "shown": shown,
            "left_out": {decision: counts[decision] - shown[decision] for decision in Decision},
            "histogram": histogram(scores, threshold),
            "decisions": [Decision.REJECT, Decision.REVIEW, Decision.PASS],
            "card": card_sections(data.manifest),
            "duration": duration(data.seconds),
            "data_uri": data_uri,
            "max_unreadable": MAX_UNREADABLE,
            "max_support": MAX_SUPPORT,
        },
    )


def _counts(scores: NDArray[np.floating], threshold: Threshold) -> dict[Decision, int]:
    reject = int((scores >= threshold.reject).sum())
    review = int((scores >= threshold.review).sum()) - reject
    return {Decision.PASS: len(scores) - reject - review, Decision.REVIEW: review, Decision.REJECT: reject}
