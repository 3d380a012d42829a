"""Rows of a result store, scored and unreadable."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from deploy.bundles.bundle import Bundle
from deploy.results.records import NewResult
from deploy.results.schema import ResultStatus
from deploy.results.store import ResultStore
from pipeline.regions import Region

REGION = Region(
    box=(1.5, 2.0, 30.0, 4.0),
    contour=((1.5, 2.0), (31.5, 2.0), (31.5, 6.0)),
    area=60.25,
    area_mm2=0.6,
    peak=2.5,
    mean=1.75,
)


def begin(store: ResultStore, bundle: Bundle) -> int:
    return store.begin_run(bundle, Path("/images"), device="cpu", workers=2)


def sha256(number: int) -> str:
    return f"{number:064x}"


def scored(run_id: int, bundle: Bundle, number: int, *, path: str | None = None, score: float = 0.5) -> NewResult:
    return NewResult(
        run_id=run_id,
        line=bundle.manifest.line,
        bundle_id=bundle.id,
        bundle_version=bundle.manifest.version,
        image_path=path or f"/images/{number}.png",
        image_sha256=sha256(number),
        status=ResultStatus.SCORED,
        reason=None,
        score=score,
        decision=bundle.manifest.threshold.decide(score),
        reject_threshold=bundle.manifest.threshold.reject,
        review_threshold=bundle.manifest.threshold.review,
        overlay_path=None,
        scored_at=datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC),
        p_value=0.25,
    )


def unreadable(run_id: int, bundle: Bundle, path: str, *, number: int | None, reason: str = "broken") -> NewResult:
    row = scored(run_id, bundle, number or 0, path=path)
    content = None if number is None else sha256(number)
    return row._replace(
        image_sha256=content, status=ResultStatus.UNREADABLE, score=None, decision=None, reason=reason, p_value=None
    )
