"""Thresholds of heads: what `pipeline.calibration` asks for, taken from a head and its support."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.calibration import PooledCalibration, SourceScores, Threshold, calibrate
from pipeline.episodes import QuerySet, SupportSet
from pipeline.errors import ConfigError
from pipeline.evaluation import score_levels
from pipeline.learner import AnomalyHead, AnomalyOutput, Learner
from pipeline.more_images import adapted_with_more, calibrated_with
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
    missed_defects: float | None = None,
) -> Calibration:
    """The threshold of an adapted head, from its leave-one-out scores of the support's good images.

    Args:
        head: adapted to the support.
        support: K good images.
        rate: share of good parts that may be rejected, in (0, 0.5].
        pooled: of its learner on source lines; None: the support alone.
        alone: the good images' leave-one-out scores, where they are at hand.
        missed_defects: share of defects like the support's that may be missed, which then counts instead of the rate.

    Raises:
        ConfigError: the rate is out of range, or too few defects for the share can be held out from the head.
    """
    alone = alone or head.leave_one_out(support)
    scores = alone.image_score.double().numpy()
    found = head.leave_one_defect_out(support)
    if found is None and missed_defects is not None:
        raise ConfigError(
            "a learner whose known defects can be held out, to state a share of missed ones",
            "one that would have to adapt anew for each",
            "choose the learner auto or memory_bank, or state a false-reject rate",
        )
    known = None if found is None else found.double().numpy()
    threshold = calibrate(
        scores,
        alone.anomaly_map.numpy(),
        target_false_reject_rate=rate,
        pooled=None if pooled is None else head.calibration_of(pooled),
        known_defects=known,
        missed_defects=missed_defects,
    )
    promise = promise_of(threshold, scores, known)
    if missed_defects is None:
        defects = np.empty(0) if known is None else known
        more = None if pooled else adapted_with_more(threshold, promise, scores, defects)
        promise = replace(promise, adapted_with_more=more, calibrated_with=calibrated_with(rate, promise))
    return Calibration(threshold, promise)


def source_scores(learner: Learner, line: str, support: SupportSet, query: QuerySet, *, seed: int) -> SourceScores:
    """What one episode of a source line adds to the pooled calibration."""
    head = learner.adapt(support, seed=seed)
    good = ~query.labels
    scores = score_levels(head, tuple(level[good] for level in query.levels)).image_score
    return SourceScores(line, head.leave_one_out(support).image_score.double().numpy(), scores.double().numpy())
