"""From scores to decisions: a threshold for a stated false-reject rate, calibrated without any test image.

A handful of good images cannot show a 1 % tail. What they do show is where their own scores lie when each is scored
against the others (leave-one-out), and roughly how far they spread. How far *new* good images stray from that, in those
units, is a property of the learner that many earlier lines have shown. So the threshold is

    reject = mean(LOO) + q * spread,    spread^2 = (n * var(LOO) + n0 * prior^2) / (n + n0)

with q the (1 - rate) quantile of (score - mean) / spread over good query images of the source lines, lines counting
alike, `prior` their typical LOO spread, and n0 = 4 the weight of that prior. A line whose good images stray wholesale
(taken with other light than its support, say) is left out: it would set the quantile for all the others, see
`benchmarks/memory_bank.md`. Without source lines q is the quantile of a one-sided Student-t prediction interval, which
is honest about n and therefore wide, times how much further good parts stray than so many scores show (`straying`);
centre and spread are those of the scores' bulk (`bulk`). Known defects move the threshold (`_beside_defects`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.area_in_words import area_in_words
from pipeline.errors import ConfigError
from pipeline.good_law import GoodLaw, pooled_law, prediction_law
from pipeline.missed_defects import missed_limit
from pipeline.regions import largest_region
from pipeline.score_spread import DEFAULT_SPREAD, MANY, centre, straying
from pipeline.score_tail import ScoreTail

_STRAYS = 3.5  # robust standard deviations of the lines' medians
_SHARE_OF_GAP = 0.5  # of what lies between the good parts' limit and known defects: so far it moves towards them
_TAKEN_BACK = 0.25  # of the limit's distance from the good parts' centre that known defects may take, at most
REVIEW_FACTOR = 5.0
"""REVIEW begins where this many times the false-reject rate of good images lie."""


class Decision(StrEnum):
    """What happens to a part."""

    PASS = "PASS"  # noqa: S105 (a verdict, no password)
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
        target_false_reject_rate: the rate it was calibrated for, 0..1; of one that a person set, the one before it was.
        expected_false_reject_rate: the rate that the law of good parts' scores gives at this threshold, 0..1; None: a
            person set it, and it promises none.
        least_area: share of the image below which a region of the map does not count, 0..1; 0: every one does.
        tail: that law; None: a threshold of before there was any.
        target_missed_defect_rate: the share of defects like the known ones that may score below `reject`, 0..1, where
            it was set for that; the false-reject rates are then what that comes to. None: it was set for the other.
        millimetres_per_pixel: side of an image's pixel on the part; None: nobody stated it.
    """

    reject: float
    review: float
    pixel: float
    method: str
    sample_count: int
    target_false_reject_rate: float
    expected_false_reject_rate: float | None
    least_area: float = 0.0
    tail: ScoreTail | None = None
    target_missed_defect_rate: float | None = None
    millimetres_per_pixel: float | None = None

    def p_value(self, score: float | None) -> float | None:
        """The share of the line's good parts that score at least so high, 0..1; None: nobody can tell."""
        return None if score is None or self.tail is None else self.tail.p_value(score)

    def least_area_in_words(self, sizes: Sequence[tuple[int, int]] = ()) -> str:
        """The least area on images of these sizes (height, width), see `pipeline.area_in_words`."""
        return area_in_words(self.least_area, sizes, self.millimetres_per_pixel)

    def counts(self, anomaly_map_hw: NDArray[np.float32]) -> bool:
        """Whether the score counts: it does not where all that the map marks is too small to be a defect."""
        return self.least_area <= 0 or self.large_enough(largest_region(anomaly_map_hw, self.pixel))

    def large_enough(self, largest: float) -> bool:
        """The same of the largest region's share of the image.

        A map that marks nothing says nothing about size, so that the score alone decides: what is anomalous all over,
        and nowhere much, does not pass by this.
        """
        return not 0 < largest < self.least_area

    def decide(self, score: float) -> Decision:
        """The decision for an image score. NaN is REVIEW: a person looks at what the model cannot score."""
        if score >= self.reject:
            return Decision.REJECT
        return Decision.PASS if score < self.review else Decision.REVIEW


@dataclass(frozen=True, kw_only=True)
class PooledCalibration:
    """What the source lines showed of one learner: how far new good images stray from the support's own scores.

    Args:
        deviations: per source line (score - mean of LOO) / spread of its good query images, ascending.
        spread: typical standard deviation of LOO scores of one support.
        fallback: of the memory bank on the same lines, for a head that fell back to it; None: it never does.
    """

    deviations: Mapping[str, tuple[float, ...]]
    spread: float
    fallback: PooledCalibration | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PooledCalibration:
        """The value written by `to_json`."""
        return cls(
            deviations={line: tuple(values) for line, values in data["deviations"].items()},
            spread=float(data["spread"]),
            fallback=cls.from_json(data["fallback"]) if data.get("fallback") else None,
        )

    @property
    def strayed(self) -> tuple[str, ...]:
        """Lines left out: their median deviation lies above the lines' median by 3.5 robust standard deviations."""
        medians = {line: float(np.median(values)) for line, values in self.deviations.items()}
        centre = float(np.median(list(medians.values())))
        width = 1.4826 * float(np.median([abs(value - centre) for value in medians.values()]))
        return tuple(line for line, value in medians.items() if value > centre + _STRAYS * width + 1e-9)

    def sample(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The deviations of the lines that did not stray, and their weights, see `lines_alike`."""
        strayed = self.strayed
        return lines_alike([values for line, values in self.deviations.items() if line not in strayed])


def lines_alike(lines: Sequence[Sequence[float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All values of some lines, ascending, and their weights: every line counts the same, 1 in sum."""
    deviations = np.concatenate([np.asarray(values, np.float64) for values in lines])
    weights = np.concatenate([np.full(len(values), 1 / (len(values) * len(lines))) for values in lines])
    order = np.argsort(deviations, kind="stable")
    return deviations[order], weights[order]


@dataclass(frozen=True)
class SourceScores:
    """One episode of a source line: LOO scores of its support, and scores of good images outside it."""

    line: str
    leave_one_out: NDArray[np.float64]
    good_query: NDArray[np.float64]


def pool(episodes: Sequence[SourceScores]) -> PooledCalibration:
    """Pool episodes of source lines.

    Raises:
        ConfigError: no episode has a good query image.
    """
    usable = [episode for episode in episodes if len(episode.good_query)]
    if not usable:
        raise ConfigError("good images outside the support", "none", "add good images to the source lines")
    spreads = [float(e.leave_one_out.std(ddof=1)) for e in usable if len(e.leave_one_out) > 1]
    prior = float(np.median(spreads)) if spreads else DEFAULT_SPREAD
    prior = max(prior, 1e-3)
    deviations: dict[str, list[float]] = {}
    for episode in usable:
        mean, spread = centre(episode.leave_one_out, prior)
        deviations.setdefault(episode.line, []).extend(((episode.good_query - mean) / spread).tolist())
    return PooledCalibration(deviations={line: tuple(sorted(v)) for line, v in deviations.items()}, spread=prior)


def calibrate(
    leave_one_out: NDArray[np.float64],
    leave_one_out_maps: NDArray[np.float32],
    *,
    target_false_reject_rate: float,
    pooled: PooledCalibration | None,
    known_defects: NDArray[np.float64] | None = None,
    missed_defects: float | None = None,
) -> Threshold:
    """A threshold from the support's own scores and, where there are source lines, from theirs.

    Known defects move it, see `_beside_defects`, or set it, where a share of missed ones is asked for.

    Args:
        leave_one_out: (K,) image scores of the good support images, each against the others.
        leave_one_out_maps: (K, H, W) their anomaly maps.
        target_false_reject_rate: share of good parts that may be rejected, in (0, 0.5].
        pooled: of the source lines, or None.
        known_defects: (M,) image scores of known defects, each by a head that does not know it; None: not known.
        missed_defects: share of defects that may be missed instead, see `threshold_by_defects`; None: the rate counts.

    Raises:
        ConfigError: the rate is out of range, or the known defects are too few for the share.
    """
    if not 0 < target_false_reject_rate <= 0.5:
        got = str(target_false_reject_rate)
        raise ConfigError("a false-reject rate above 0 and at most 0.5", got, "state the share of good parts to reject")
    assert len(leave_one_out) >= 1
    known = np.empty(0) if known_defects is None else known_defects
    if pooled:
        law = pooled_law(leave_one_out, *pooled.sample(), pooled.spread)
    else:
        strays = straying(len(leave_one_out), len(known))
        law = prediction_law(leave_one_out, strays=strays, method="leave-one-out prediction interval")
    peaks = leave_one_out_maps.max(axis=(1, 2))
    if missed_defects is not None:
        return threshold_by_defects(law, peaks, missed_defects, known)
    return threshold_by(law, peaks, target_false_reject_rate, known, few=len(leave_one_out) < MANY)


def threshold_by(
    law: GoodLaw, peaks: NDArray[np.float32], rate: float, known: NDArray[np.float64], *, few: bool
) -> Threshold:
    """The threshold that a law of good parts' scores gives for a rate, moved by known defects.

    Args:
        law: of the line.
        peaks: (K,) largest values of good images' maps.
        rate: share of good parts that may be rejected, 0..1.
        known: (M,) image scores of known defects.
        few: the law is wide for want of good images, so that known defects may lower it.
    """
    limit, tail = law.score_at(rate), law.tail(rate)
    reject = _beside_defects(limit, law.middle, known, few=few) if len(known) else limit
    return Threshold(
        reject=reject,
        review=min(reject, law.score_at(min(0.5, REVIEW_FACTOR * rate))),
        pixel=float(peaks.mean()),
        method=law.method,
        sample_count=law.sample_count,
        target_false_reject_rate=rate,
        expected_false_reject_rate=law.share_at(rate) if reject == limit else tail.p_value(reject),
        tail=tail,
    )


def threshold_by_defects(
    law: GoodLaw, peaks: NDArray[np.float32], missed: float, known: NDArray[np.float64]
) -> Threshold:
    """The threshold that misses a share of defects like the known ones at most, whatever that costs in good parts.

    Args:
        law: of good parts' scores, which tells the false-reject rate.
        peaks: (K,) largest values of good images' maps.
        missed: share of such defects that may score below the threshold, 0..1.
        known: (M,) image scores of known defects, each by a head that does not know it.

    Raises:
        ConfigError: too few defects for that share.
    """
    reject, tail = missed_limit(known, missed), law.tail(law.smallest)
    rate = tail.p_value(reject)
    return Threshold(
        reject=reject,
        review=min(reject, law.score_at(min(0.5, REVIEW_FACTOR * rate))),
        pixel=float(peaks.mean()),
        method=f"known defects beside a {law.method}",
        sample_count=law.sample_count,
        target_false_reject_rate=rate,
        expected_false_reject_rate=rate,
        tail=tail,
        target_missed_defect_rate=missed,
    )


def _beside_defects(reject: float, mean: float, known: NDArray[np.float64], *, few: bool) -> float:
    """A limit of good parts' scores, moved by those of known defects.

    Where even the weakest of them scores higher, half of what lies between is given to the good parts, which stray
    further than the images at hand show. Where most of them would pass, and the good images are so few that the limit
    is wide for want of knowledge, half of the way to them is taken, up to a quarter of the limit's distance.
    """
    middle, weakest = float(np.median(known)), float(known.min())
    if few and middle < reject:
        return max(reject - _TAKEN_BACK * (reject - mean), reject - _SHARE_OF_GAP * (reject - middle))
    return reject + _SHARE_OF_GAP * max(0.0, weakest - reject)
