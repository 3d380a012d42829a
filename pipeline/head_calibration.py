"""Thresholds of heads: what `pipeline.calibration` asks for, taken from a head and its support."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.calibration import PooledCalibration, SourceScores, Threshold, calibrate
from pipeline.episodes import QuerySet, SupportSet
from pipeline.evaluation import score_levels
from pipeline.learner import AnomalyHead, AnomalyOutput, Learner
from pipeline.promise import Promise, promise_of


class Calibration(NamedTuple):
    """A head's threshold, and what it promises."""

    threshold: Threshold
    promise: Promise


def calibrate_head(
    head: AnomalyHead,
    support: SupportSet,
    rate: float,
    pooled: PooledCalibration | None,
    alone: AnomalyOutput | None = None,
) -> Calibration:
    """The threshold of an adapted head, from its leave-one-out scores of the support's good images.

    Args:
        head: adapted to the support.
        support: K good images.
        rate: share of good parts that may be rejected, in (0, 0.5].
        pooled: of its learner on source lines; None: the support alone.
        alone: the good images' leave-one-out scores, where they are at hand.

    Raises:
        ConfigError: the rate is out of range.
    """
    alone = alone or head.leave_one_out(support)
    scores = alone.image_score.double().numpy()
    found = head.leave_one_defect_out(support)
    known = None if found is None else found.double().numpy()
    threshold = calibrate(
        scores,
        alone.anomaly_map.numpy(),
        target_false_reject_rate=rate,
        pooled=None if pooled is None else head.calibration_of(pooled),
        known_defects=known,
    )
    return Calibration(threshold, promise_of(threshold, scores, known))


def source_scores(learner: Learner, line: str, support: SupportSet, query: QuerySet, *, seed: int) -> SourceScores:
    """What one episode of a source line adds to the pooled calibration."""
    head = learner.adapt(support, seed=seed)
    good = ~query.labels
    scores = score_levels(head, tuple(level[good] for level in query.levels)).image_score
    return SourceScores(line, head.leave_one_out(support).image_score.double().numpy(), scores.double().numpy())
