"""A report's parts, and the page it is written to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.manifest import (
    BackboneRecord,
    BundleManifest,
    LearnerRecord,
    LineageRecord,
    ParityRecord,
    SupportRecord,
)
from deploy.reports.counts import Counts
from deploy.reports.gallery import GalleryItem
from deploy.reports.overlay import encode_jpeg
from deploy.reports.report import ReportData, write_report
from pipeline.calibration import Decision, Threshold
from pipeline.features import BackboneSpec, FeatureLevel
from pipeline.imaging.images import PreprocessSpec
from tests.parts.html_page import Page

THRESHOLD = Threshold(
    reject=1.0,
    review=0.8,
    pixel=0.9,
    method="leave-one-out",
    sample_count=40,
    target_false_reject_rate=0.01,
    expected_false_reject_rate=0.0,
)
HOSTILE = "a\"'><script>document.title='owned'</script><img src=x onerror=document.title='owned'>.png"


def manifest(line: str = "plant/line-7", threshold: Threshold = THRESHOLD) -> BundleManifest:
    spec = BackboneSpec(
        name="tf_efficientnet_lite0",
        weights_sha256="a" * 64,
        weights_source="a package",
        weights_licence="Apache-2.0",
        height=64,
        width=64,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        levels=(FeatureLevel(stride=8, channels=4, height=8, width=8),),
        groups=(),
        fingerprint="0123456789abcdef",
    )
    return BundleManifest(
        line=line,
        version="v3",
        linewise_version="0.1.0",
        learner=LearnerRecord(name="maml", config={"steps": 5}),
        backbone=BackboneRecord(name=spec.name, fingerprint=spec.fingerprint, onnx_sha256="b" * 64),
        spec=spec,
        preprocess=PreprocessSpec(height=64, width=64, white_level=4095),
        support=SupportRecord(good=("c" * 64,) * 4, defects=("d" * 64,) * 2, masks=1),
        threshold=threshold,
        metrics={"image_auroc": 0.973},
        parity=ParityRecord(max_score_error=3e-6, max_map_error=4e-6, tolerance=1e-4, images=8),
        lineage=LineageRecord(training_lines=("mpdd/metal_plate",), parent="v2", seed=5),
        files={"head.onnx": "e" * 64, "card.md": "f" * 64},
    )


def picture(level: int, side: int = 24) -> bytes:
    return encode_jpeg(np.full((side, side, 3), level, dtype=np.uint8))


def item(name: str, score: float) -> GalleryItem:
    level = int(min(max(score, 0), 2) * 100)
    return GalleryItem(
        name=name,
        score=score,
        decision=THRESHOLD.decide(score),
        image=picture(level),
        overlay=picture(255 - level),
        worst_patch=picture(10),
        good_patch=picture(20),
        good_label="good image 2",
    )


def by_decision(scores: Iterable[float], threshold: Threshold = THRESHOLD) -> dict[Decision, NDArray[np.float64]]:
    known = [float(score) for score in scores]
    return {
        decision: np.array([score for score in known if threshold.decide(score) is decision]) for decision in Decision
    }


def counts_of(
    scores: Mapping[Decision, NDArray[np.float64]], *, unreadable: int = 0, skipped: int = 0, not_judged: int = 0
) -> Counts:
    """Of images with these scores, and so many that are REVIEW without one."""
    decisions = {decision: len(part) for decision, part in scores.items()}
    decisions[Decision.REVIEW] += not_judged
    return Counts(
        scored=sum(decisions.values()) - skipped,
        skipped=skipped,
        unreadable=unreadable,
        decisions=decisions,
        not_judged={decision: not_judged if decision is Decision.REVIEW else 0 for decision in Decision},
    )


def report_data(shown: list[float], /, *, scores: Iterable[float] | None = None, **changes: Any) -> ReportData:
    """A report of `shown` images, of all that have `scores`; what `changes` does not say is as it was on that day."""
    decided = by_decision(shown if scores is None else scores)
    gallery = [item(f"cam1/part_{index:03d}.png", score) for index, score in enumerate(shown)]
    data = ReportData(
        manifest=manifest(),
        started_at=datetime(2026, 3, 1, 6, 30, tzinfo=UTC),
        seconds=125.0,
        device="cpu, 2 threads",
        images_per_second=78.34,
        source="/data/today",
        counts=counts_of(decided, unreadable=len(changes.get("unreadable", ()))),
        scores=decided,
        gallery=gallery,
    )
    return replace(data, **changes)


def written(tmp_path: Path, data: ReportData) -> Page:
    write_report(tmp_path / "report.html", data)
    return Page(tmp_path / "report.html")
