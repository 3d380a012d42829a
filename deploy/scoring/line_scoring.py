"""A line at one bundle while it is scored: its counts, and what the store keeps of each image."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deploy.bundles.bundle import Bundle
from deploy.results.records import NewResult, path_text
from deploy.results.schema import ResultStatus
from deploy.scoring.image_result import FileStatus, ImageResult
from deploy.scoring.open_parts import OpenParts
from deploy.scoring.tally import ScoringTally
from deploy.scoring.worker import ScoringWorker
from pipeline.look_figures import LookFigures


@dataclass
class LineScoring:
    """A line at one bundle while its images are scored, and afterwards its counts: a run in the store."""

    worker: ScoringWorker
    run_id: int
    tally: ScoringTally = field(default_factory=ScoringTally)
    began: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    remarks: dict[str, None] = field(default_factory=dict)
    """What someone should know of its images, each sentence once, in the order they came."""
    parts: OpenParts | None = None
    """Its parts of several views; None: each image is judged by itself."""

    @property
    def bundle(self) -> Bundle:
        """The bundle that scores."""
        return self.worker.bundle

    @property
    def line(self) -> str:
        """The line's name."""
        return self.bundle.manifest.line

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.bundle.manifest.version

    def end(self) -> None:
        """Its images are all there."""
        if self.seconds is None:
            self.seconds = time.monotonic() - self.began

    def row(self, result: ImageResult) -> NewResult:
        """What the store keeps of an image."""
        manifest = self.bundle.manifest
        scored = result.status is FileStatus.SCORED
        figures = (None,) * len(LookFigures._fields) if result.figures is None else result.figures
        brightness, contrast, fineness, red, blue, profiles = figures
        return NewResult(
            run_id=self.run_id,
            line=manifest.line,
            bundle_id=self.bundle.id,
            bundle_version=manifest.version,
            image_path=result.location,
            image_sha256=result.sha256,
            status=ResultStatus.SCORED if scored else ResultStatus.UNREADABLE,
            reason=result.reason,
            score=result.score,
            decision=result.decision,
            reject_threshold=manifest.threshold.reject,
            review_threshold=manifest.threshold.review,
            overlay_path=path_text(result.overlay_path) if result.overlay_path is not None else None,
            scored_at=datetime.now(UTC),
            p_value=result.p_value,
            image_height=None if result.size is None else result.size[0],
            image_width=None if result.size is None else result.size[1],
            regions=result.regions,
            image_depth=result.depth,
            look_brightness=brightness,
            look_contrast=contrast,
            look_fineness=fineness,
            look_red=red,
            look_blue=blue,
            look_profiles=profiles,
            kind=None if result.kind is None else result.kind.name,
            kind_probability=None if result.kind is None else result.kind.probability,
        )
