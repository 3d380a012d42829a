"""What a line says of one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.bundles.kind_of_image import kind_of_image
from deploy.bundles.verdict import Scored
from deploy.reports.overlay import upsample_map
from deploy.scoring.line_engine import LineEngine
from pipeline.calibration import Decision
from pipeline.imaging.placement import Placement
from pipeline.likeness import Seen
from pipeline.regions import Region


@dataclass(frozen=True, kw_only=True)
class Result:
    """One image's result. It keeps the map until it is gone: drop results, or take what you need of them.

    Args:
        score: higher is more anomalous; None where the model gave no finite number (the decision is then never PASS).
        p_value: share of the line's good parts that score at least so high; None where nobody can tell.
        decision: what happens to the part.
        reason: what a person should know of it, in one sentence; None where the score says all.
        regions: where a flagged image is marked, the largest first, in pixels of the upright image.
        size: (height, width) of the upright image, in pixels.
        kind: the likeliest kind of defect of a flagged image, or "none of these"; None: it is not flagged, or the line
            has no named kinds.
        kind_probability: of that kind, 0..1; None where there is none.
    """

    score: float | None
    p_value: float | None
    decision: Decision
    reason: str | None
    regions: tuple[Region, ...]
    size: tuple[int, int]
    kind: str | None = None
    kind_probability: float | None = None
    _scored: Scored = field(repr=False, compare=False)
    _placement: Placement | None = field(default=None, repr=False, compare=False)
    _steep: bool = field(default=False, repr=False, compare=False)

    @classmethod
    def of(cls, bundle: Bundle, engine: LineEngine, scored: Scored, seen: Seen) -> Self:
        """What the bundle says of an image as it was seen, and of what its head said of that on the engine."""
        verdict = bundle.judge(scored, seen)
        kind = kind_of_image(bundle, verdict, scored, lambda: engine.features(seen.pixels, bundle.manifest.tiles))
        score = scored.score if verdict.judged else None
        return cls(
            score=score,
            p_value=bundle.manifest.threshold.p_value(score),
            decision=verdict.decision,
            reason=verdict.reason,
            regions=verdict.regions,
            size=seen.size,
            kind=None if kind is None else kind.name,
            kind_probability=None if kind is None else kind.probability,
            _scored=scored,
            _placement=seen.placement,
            _steep=bundle.manifest.region is not None,
        )

    @property
    def map(self) -> NDArray[np.float32] | None:
        """(h, w) the anomaly map on the model's finest grid, a copy; None without a score.

        These are the values that `Line.threshold.pixel` belongs to. Asked for first, it comes from an accelerator.
        """
        if self.score is None:
            return None
        anomaly_map = self._scored.anomaly_map
        return anomaly_map.copy() if self._placement is None else self._placement.upright(anomaly_map)

    def full_map(self) -> NDArray[np.float32] | None:
        """(H, W) the same at the upright image's own size, bicubic, of a line with a region of interest bilinear; None
        without a score.
        """
        anomaly_map = self.map
        return None if anomaly_map is None else upsample_map(anomaly_map, *self.size, steep=self._steep)
