"""The threshold of an adapted line, as adaptation and evaluation are asked to set it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flows.asking.request_fields import LineSettings
from flows.views import View
from pipeline.calibration import PooledCalibration
from pipeline.errors import ConfigError
from pipeline.head_calibration import Calibration, calibrate_head
from pipeline.imaging.images import read_size
from pipeline.learner import AnomalyHead, AnomalyOutput
from pipeline.product_lines.lines import ImageRecord
from pipeline.regions import share_of_image
from pipeline.tiled_output import over_images


def line_threshold(
    asked: LineSettings,
    head: AnomalyHead,
    view: View,
    pooled: PooledCalibration | None,
    alone: AnomalyOutput | None = None,
    missed_defects: float | None = None,
) -> Calibration:
    """From the deployed head: its leave-one-out scores of the good images, at the size and with the layers chosen.

    Args:
        asked: what the line's request says of its threshold.
        head: adapted to the view's support.
        view: the line's support images as the head sees them.
        pooled: of its learner on source lines; None: the support alone.
        alone: the good images' leave-one-out scores, where they are at hand.
        missed_defects: share of defects like the known ones that may be missed; None: the false-reject rate counts.

    Raises:
        ConfigError: the least defect area is as large as the image, or known defects are too few for the share.
    """
    alone = over_images(alone or head.leave_one_out(view.support), view.tiles)
    found = calibrate_head(head, view.support, asked.target_false_reject_rate, pooled, alone, missed_defects)
    least, per_pixel = least_area(asked, (*view.good, *view.defects)), asked.millimetres_per_pixel
    return found._replace(threshold=replace(found.threshold, least_area=least, millimetres_per_pixel=per_pixel))


def least_area(asked: LineSettings, records: Sequence[ImageRecord]) -> float:
    """The least defect area as a share of these images, 0 where none is asked for. Jobs ask before they adapt.

    Raises:
        ConfigError: it is as large as the image.
        ImageError: an image cannot be used.
    """
    if asked.least_defect_area is None:
        return 0.0
    sizes = [read_size(record.path) for record in records]
    per_pixel = asked.millimetres_per_pixel
    share = share_of_image(asked.least_defect_area, sizes, millimetres_per_pixel=per_pixel)
    if share >= 1:
        got = f"{asked.least_defect_area:g} {'pixels' if per_pixel is None else 'mm2'}, {share:.0%} of it"
        raise ConfigError("a least defect area smaller than the image", got, "state a smaller one")
    return share
