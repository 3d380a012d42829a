"""The report of a plant: one page with every line's counts and scores, and the way to each line's own page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.manifest import linewise_version
from deploy.reports.counts import Counts
from deploy.reports.histogram import Histogram, histogram
from deploy.reports.page import duration, write_page
from pipeline.calibration import Decision, Threshold

MAX_LEFT_OUT = 200


@dataclass(frozen=True, kw_only=True)
class PlantLine:
    """A line at one bundle, as the plant's page shows it.

    Args:
        line: its name.
        version: of the bundle.
        threshold: the bundle's.
        scores: the finite scores (N,) of the line's images, by what was decided on them.
        counts: of its files.
        report: the line's own page, a path relative to this one's folder.
    """

    line: str
    version: str
    threshold: Threshold
    scores: Mapping[Decision, NDArray[np.float64]]
    counts: Counts
    report: str

    @property
    def flagged(self) -> float | None:
        """Share of the decided images, 0..1, that are REVIEW or REJECT; None where there is none."""
        return self.counts.flagged / self.counts.decided if self.counts.decided else None

    @property
    def histogram(self) -> Histogram:
        """Of the scores, against the line's own threshold."""
        return histogram(self.scores, self.threshold)


@dataclass(frozen=True, kw_only=True)
class PlantReport:
    """Everything a plant's page shows.

    Args:
        name: what people call the plant.
        source: the folder that was scored.
        started_at: of the run, with a time zone.
        seconds: the run took.
        device: where it ran, in words.
        images_per_second: as measured over the run; None: nothing was new.
        backbones: that served all lines.
        lines: in the order to show.
        left_out: sentences on folders and bundles that could not be used.
        notes: sentences a reader should see first.
        files: names of files beside the page (JSON, CSV) to point at.
    """

    name: str
    source: str
    started_at: datetime
    seconds: float
    device: str
    images_per_second: float | None
    backbones: int
    lines: Sequence[PlantLine]
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()
    files: Sequence[str] = ()


def write_plant_report(path: Path, data: PlantReport) -> None:
    """Write the plant's page: self-contained, opens from a disk, loads nothing.

    Args:
        path: the HTML file; replaced in one step.
        data: what to show.

    Raises:
        StorageError: the file cannot be written.
    """
    write_page(
        path,
        "plant.html.j2",
        style="page.css histogram.css report.css plant.css",
        script="",
        context={
            "data": data,
            "decisions": [Decision.REJECT, Decision.REVIEW, Decision.PASS],
            "counts": Counts.total(line.counts for line in data.lines),
            "duration": duration(data.seconds),
            "max_left_out": MAX_LEFT_OUT,
            "linewise_version": linewise_version(),
        },
    )
