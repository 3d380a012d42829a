"""What more images would make of a promise: computed with the line's own centre and spread, as if they stayed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Threshold, threshold_by
from pipeline.good_law import prediction_law_at
from pipeline.promise import Forecast, Promise, counted_interval, rate_interval
from pipeline.score_spread import MANY, bulk, straying

_ADAPTED = (8, 30, 100)  # good images in all
_CALIBRATED = (30, 100, 300)  # images that are new to the head
_WORTH = 0.85  # of the highest rate so far: less of a gain is not worth an engineer's morning
_TOLD = 2


def adapted_with_more(
    threshold: Threshold, promise: Promise, leave_one_out: NDArray[np.float64], known_defects: NDArray[np.float64]
) -> tuple[Forecast, ...]:
    """The intervals of adaptations from more good images, where they would be narrower; unlabelled ones that are taken
    up count alike.

    From some four on they hardly are: new good parts stray the further beyond what the images at hand show, the more
    there are of these (`score_spread.straying`).

    Args:
        threshold: of the head, by a prediction interval.
        promise: of it.
        leave_one_out: (K,) scores of the good images.
        known_defects: (M,) scores of the known defects.
    """
    middle, spread = bulk(leave_one_out)

    def forecasts() -> Iterator[Forecast]:
        for total in _ADAPTED:
            if total <= len(leave_one_out):
                continue
            strays = straying(total, len(known_defects))
            law = prediction_law_at(middle, spread, total, strays=strays, method=threshold.method)
            peaks, rate = np.zeros(1, np.float32), threshold.target_false_reject_rate
            reject = threshold_by(law, peaks, rate, known_defects, few=total < MANY).reject
            interval = rate_interval(reject, middle, spread, total, strays=strays)
            yield Forecast(images=total - len(leave_one_out), lowest_rate=interval[0], highest_rate=interval[1])

    return _worth_telling(forecasts(), promise.highest_rate)


def calibrated_with(rate: float, promise: Promise, known: int = 0, *, labelled: bool = True) -> tuple[Forecast, ...]:
    """The intervals of calibrations by images that are new to the head, where they would be narrower than the promised.

    They are the same for every line: `pipeline.recalibration` says by which law.

    Args:
        rate: share of good parts that may be rejected, 0..1.
        promise: of the threshold as it is.
        known: how many such images it rests on already.
        labelled: those are good, and so would the others be; else nobody has labelled them.
    """
    counted_from = distribution_free_count(rate) if labelled else math.inf

    def forecasts() -> Iterator[Forecast]:
        for total in sorted({*_CALIBRATED, distribution_free_count(rate)}):
            if total <= max(known, MANY):
                continue
            if total >= counted_from:
                interval = counted_interval(int((total + 1) * rate + 1e-9) - 1, total)
            else:
                law = prediction_law_at(0.0, 1.0, total, strays=1.0, method="prediction interval")
                interval = rate_interval(law.score_at(rate), 0.0, 1.0, total, strays=1.0)
            yield Forecast(images=total - known, lowest_rate=interval[0], highest_rate=interval[1])

    return _worth_telling(forecasts(), promise.highest_rate)


def distribution_free_count(rate: float) -> int:
    """How many good images keep a false-reject rate whatever the law of their scores: 99 for 1 %."""
    return math.ceil(1 / rate - 1 - 1e-9)


def _worth_telling(forecasts: Iterator[Forecast], highest: float) -> tuple[Forecast, ...]:
    """The first of them that narrow the interval enough, each beside the one before."""
    told: list[Forecast] = []
    for forecast in forecasts:
        if forecast.highest_rate < _WORTH * highest and len(told) < _TOLD:
            told.append(forecast)
            highest = forecast.highest_rate
    return tuple(told)
