"""A first, cheap look at an image, which settles what is plainly good and leaves all else to the second.

At its larger input sizes a line's head takes several times as long as at the default one. Where a head at the smaller
size tells the line's known defects from its good parts with room to spare, only what it doubts needs the dear look; the
support says whether that is so, and where doubt begins (`benchmarks/cascade.md`). Torch-free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.good_law import prediction_law
from pipeline.score_spread import PRIOR_COUNT, bulk, straying

LEAST_DEFECTS = 4
"""Known defects that must vouch for a first look: measured with so many, and fewer show too little."""
_MARGIN = 1.0  # spreads of the good parts' scores by which doubt begins below the weakest known defect
_DOUBTED = 0.05  # share of good parts above the limit by the law of their scores, which strays as thresholds' does
_MOST_DOUBTED = 0.25  # share of good parts from which on two looks save too little


@dataclass(frozen=True, kw_only=True)
class FirstLook:
    """Where doubt begins, and what score an image has that the first look settles.

    Args:
        limit: scores of the first look at or above leave doubt.
        distance: of an image's features, as a whole, to the support's, beyond which there is doubt, too.
        doubted: share of good parts that are expected to be looked at twice, 0..1.
        middle: of good parts' scores at the first look.
        slope: how many units of the second look's score one of the first's is.
        second_middle: of good parts' scores at the second look.
        most: the largest score that a settled image is given: it lies below the thresholds.
    """

    limit: float
    distance: float
    doubted: float
    middle: float
    slope: float
    second_middle: float
    most: float

    def settles(self, score: float, distance: float | None) -> bool:
        """Whether an image passes by its first look; what is not finite never does."""
        return score < self.limit and (distance is None or distance <= self.distance) and math.isfinite(score)

    def as_second(self, score: float) -> float:
        """A first look's score of a settled image on the scale of the second's: good parts lie alike on both."""
        return min(self.second_middle + self.slope * (score - self.middle), self.most)

    def map_as_second(self, anomaly_map_HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """A first look's map (H, W) on that scale; it has no upper end, as no decision rests on it."""
        return (self.second_middle + self.slope * (anomaly_map_HW - self.middle)).astype(np.float32)


def first_look_of(
    alone: NDArray[np.float64],
    known: NDArray[np.float64],
    second_alone: NDArray[np.float64],
    *,
    distance: float,
    review: float,
    flagged: float,
) -> FirstLook | None:
    """The first look that a support vouches for; None: too many good parts would be looked at twice.

    Args:
        alone: (K,) first-look scores of the good images, each by a head that does not know it.
        known: (M,) those of known defects, likewise; at least one.
        second_alone: (K,) second-look scores of the good images.
        distance: see `FirstLook`.
        review: the line's lowest threshold, on the second look's score.
        flagged: share of good parts that reach it, 0..1: so many must be looked at twice.
    """
    from scipy.special import stdtr  # noqa: PLC0415 (scoring at the plant does not need scipy)

    (middle, spread), (second_middle, second_spread), n = bulk(alone), bulk(second_alone), len(alone)
    law = prediction_law(alone, strays=straying(n, len(known)), method="first look")
    limit = min(float(known.min()) - _MARGIN * spread, law.score_at(max(_DOUBTED, min(flagged, 0.5))))
    width = spread * math.sqrt(1 + 1 / n)
    doubted = 1.0 - float(stdtr(n - 1 + PRIOR_COUNT, (limit - middle) / width))
    if doubted > _MOST_DOUBTED:
        return None
    return FirstLook(
        limit=limit,
        distance=distance,
        doubted=doubted,
        middle=middle,
        slope=second_spread / spread,
        second_middle=second_middle,
        most=math.nextafter(review, -math.inf),
    )
