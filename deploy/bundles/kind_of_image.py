"""What a bundle says of the kind of defect that an image shows."""

from __future__ import annotations

from collections.abc import Callable

from deploy.bundles.bundle import Bundle
from deploy.bundles.verdict import Scored, Verdict
from pipeline.calibration import Decision
from pipeline.features import Levels
from pipeline.kinds import SaidKind


def kind_of_image(bundle: Bundle, verdict: Verdict, scored: Scored, features: Callable[[], Levels]) -> SaidKind | None:
    """The likeliest kind; None: the image's score does not flag it, or the line has no named kinds.

    Args:
        bundle: of the line.
        verdict: of the bundle on the image.
        scored: what its head said.
        features: of the image alone, (1, C, h, w) a level, or of its tiles, below one another; asked for only where
            they are needed.

    Raises:
        BundleError: the bundle's file of kinds holds something else.
    """
    unflagged = verdict.decision is Decision.PASS or verdict.reason is not None or not verdict.judged
    if unflagged or (kinds := bundle.kinds) is None:
        return None
    levels = [level[0] for level in features()]
    tiles, anomaly_map = bundle.manifest.tiles, scored.anomaly_map
    if tiles is not None:
        anomaly_map = tiles.stacked(anomaly_map)
    return kinds.kind_of(levels, anomaly_map, bundle.manifest.threshold.pixel)
