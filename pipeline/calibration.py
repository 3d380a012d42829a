"""From scores to decisions: a threshold for a stated false-reject rate, calibrated without any test image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Decision(StrEnum):
    """What happens to a part."""

    PASS = "PASS"
    REVIEW = "REVIEW"
    REJECT = "REJECT"


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A calibrated threshold on the image score.

    Args:
        reject: scores at or above are REJECT.
        review: scores at or above, but below `reject`, are REVIEW. Never above `reject`.
        pixel: anomaly-map value above which a pixel counts as defective (for overlays).
        method: how it was found, in one word or two.
        sample_count: how many scores it rests on.
        target_false_reject_rate: the rate it was calibrated for, 0..1.
        expected_false_reject_rate: the rate the calibration sample showed at this threshold, 0..1.
    """

    reject: float
    review: float
    pixel: float
    method: str
    sample_count: int
    target_false_reject_rate: float
    expected_false_reject_rate: float

    def decide(self, score: float) -> Decision:
        """The decision for an image score."""
        if score >= self.reject:
            return Decision.REJECT
        return Decision.REVIEW if score >= self.review else Decision.PASS
