"""A threshold set anew from images that the head does not know: their scores are what production's will be.

Scores of the support stand for new images' only by leave-one-out and by how far other lines' good parts stray. Images
that are new to the head need neither: a further good part is drawn as they were. So, with n good images and a rate r,

- where n >= 1 / r - 1 the threshold is distribution-free (`good_law.conformal_law`): 99 images keep 1 % whatever the
  law of the scores, and the rate's interval is that of what was counted;
- with fewer it is the normal model's prediction interval around their bulk, as in adaptation, and so is the interval,
  unless more of the good images are rejected than it allows. That model is wrong here: the limit is then the
  distribution-free one of so few, just above their highest score, which keeps 1 / (n + 1); what was counted is told.

Nobody has labelled unlabelled images, and the highest of their scores may be defects': for them it is always the normal
model, whose centre and spread are read off quantiles that a few defects do not move (`score_spread.bulk`). Known
defects move the threshold as adaptation's do (`calibration.threshold_by`), but never below a distribution-free one.
What images of one day do not show is another day's light: take them from as many shifts as there are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Threshold, threshold_by, threshold_by_defects
from pipeline.errors import LineError
from pipeline.good_law import GoodLaw, conformal_law, prediction_law
from pipeline.more_images import calibrated_with, distribution_free_count
from pipeline.promise import Promise, counted_interval, promise_at, rate_interval
from pipeline.score_spread import MANY, bulk

LEAST_GOOD = 4
"""Good images that a calibration asks for; of unlabelled ones it takes as many as a bulk does, `score_spread.MANY`."""


def recalibrate(
    scores: NDArray[np.float64],
    peaks: NDArray[np.float32],
    known_defects: NDArray[np.float64],
    *,
    rate: float,
    labelled: bool,
    missed_defects: float | None = None,
) -> tuple[Threshold, Promise]:
    """The threshold, and what it promises.

    Args:
        scores: (K,) of images that the head was not adapted to: good ones, or unlabelled ones.
        peaks: (K,) largest values of their maps.
        known_defects: (M,) of defects that it was not adapted to.
        rate: share of good parts that may be rejected, in (0, 0.5].
        labelled: all K are good.
        missed_defects: share of defects that may be missed, which then counts instead of the rate; see
            `calibration.threshold_by_defects`.

    Raises:
        LineError: too few images.
        ConfigError: too few defects for that share.
    """
    n, least = len(scores), LEAST_GOOD if labelled else MANY
    if n < least:
        raise LineError(
            f"at least {least} {'good' if labelled else 'unlabelled'} images that the line was not adapted from",
            f"{n} that can be used",
            "add images of its production",
        )

    def by(law: GoodLaw, *, few: bool) -> tuple[Threshold, tuple[float, float]]:
        """The threshold by a law, and the interval of its rate as counted."""
        usual = peaks if labelled else peaks[scores < law.score_at(rate)]
        if missed_defects is None:
            threshold = threshold_by(law, usual, rate, known_defects, few=few)
        else:
            threshold = threshold_by_defects(law, usual, missed_defects, known_defects)
        return threshold, counted_interval(int((scores >= threshold.reject).sum()), n)

    counting = conformal_law(scores, method="distribution-free limit")
    if labelled and n >= distribution_free_count(rate):
        threshold, interval = by(counting, few=False)
    else:
        threshold, counted = by(prediction_law(scores, strays=1.0, method="prediction interval"), few=n < MANY)
        interval = rate_interval(threshold.reject, *bulk(scores), n, strays=1.0)
        if labelled and counted[0] > interval[1]:
            threshold, interval = by(counting, few=False)
    promise = promise_at(threshold, interval, known_defects)
    if missed_defects is None:
        promise = replace(promise, calibrated_with=calibrated_with(rate, promise, n, labelled=labelled))
    return threshold, promise
