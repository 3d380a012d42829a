"""The threshold of an adapted line, as adaptation and evaluation are asked to set it."""

from __future__ import annotations

from flows.asking.request_fields import LineSettings
from flows.views import View
from pipeline.calibration import PooledCalibration, Threshold
from pipeline.head_calibration import calibrate_head
from pipeline.learner import AnomalyHead


def line_threshold(asked: LineSettings, head: AnomalyHead, view: View, pooled: PooledCalibration | None) -> Threshold:
    """From the deployed head: its leave-one-out scores of the good images, at the size and with the layers chosen.

    Args:
        asked: what the line's request says of its threshold.
        head: adapted to the view's support.
        view: the line's support images as the head sees them.
        pooled: of its learner on source lines; None: the support alone.
    """
    return calibrate_head(head, view.support, asked.target_false_reject_rate, pooled)
