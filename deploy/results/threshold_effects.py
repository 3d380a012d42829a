"""What other thresholds would have done to the images that a line scored lately, and to what people say of them.

One statement in an index of line and time reads what answers for all thresholds at once. The scores are those of the
rows, so only rows of versions with one and the same head count (`deploy.bundles.threshold_versions.scoring_alike`), and
each content counts once. A row with a reason was decided by something else than its score (the image is unlike the
line, it could not be judged, what is marked is too small): there no threshold changes anything. What it would mark on a
part that passed is not known, so a lower threshold is told without the least area of a defect.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, and_, func, select

from deploy.bundles.verdict import AT_FIRST_LOOK
from deploy.results.schema import ResultRow, ResultStatus, Verdict, VerdictRow
from deploy.results.store import ResultStore
from deploy.results.verdict_queries import LATEST_FIRST, counts
from pipeline.calibration import Decision

SHARES = (0.001, 0.005, 0.01, 0.02, 0.05)
"""Of the line's images: thresholds that reject at most so many of them are told of."""
_ROWS_AT_ONCE = 1000
LARGEST_SCORE = 1e100
"""Of a threshold, far beyond any score: the arithmetic of a chart with larger ones overflows."""
_DIGITS = 6  # of a score that is told, and typed again
_SEVERITY = (Decision.PASS, Decision.REVIEW, Decision.REJECT)
_PASS, _REVIEW, _REJECT = range(3)


@dataclass(frozen=True)
class Limits:
    """Scores at or above `reject` are REJECT, at or above `review` REVIEW; `review` is at most `reject`."""

    reject: float
    review: float


class DecidedOtherwise(NamedTuple):
    """A result's id, and what each of two limits decides of it."""

    result: int
    before: Decision
    after: Decision


@dataclass(frozen=True, kw_only=True)
class ThresholdEffect:
    """What limits would have done.

    Args:
        limits: which.
        images: how many contents have a decision.
        rejected: how many of them would be REJECT,
        reviewed: and how many REVIEW.
        good: how many of the contents people call good,
        good_rejected: and how many of these would be REJECT.
        defects: how many they call defective,
        defects_passed: and how many of these would be PASS.
    """

    limits: Limits
    images: int
    rejected: int
    reviewed: int
    good: int
    good_rejected: int
    defects: int
    defects_passed: int


@dataclass(frozen=True, kw_only=True)
class ScoreLevels:
    """Scores that matter for a threshold, to six digits; None: there is no such image.

    Args:
        by_share: for each share asked for, the score that at most so large a share of the images reaches.
        above_good: just above the highest score of what people call good: from there none of it is rejected.
        lowest_defect: the lowest score of what they call defective: up to there none of it passes.
    """

    by_share: tuple[float | None, ...]
    above_good: float | None
    lowest_defect: float | None


class ScoredContents:
    """What a line scored lately, each content once, with what people say of it. In memory: any limits are told at once.

    Args:
        results: (N,) ids of the rows.
        scores: (N,) of them, NaN where there is none.
        decisions: those whose score decided nothing, by their place, and what was decided.
        verdicts: of those that people said a word on, by their place.
    """

    def __init__(
        self,
        results: NDArray[np.int64],
        scores: NDArray[np.float64],
        decisions: Mapping[int, Decision],
        verdicts: Mapping[int, Verdict],
    ) -> None:
        self._results, self._scores = results, scores
        self._judged = np.ones(len(scores), np.bool_)
        self._judged[list(decisions)] = False
        self._fixed = np.full(len(scores), -1)
        self._fixed[list(decisions)] = [_SEVERITY.index(decision) for decision in decisions.values()]
        self._good, self._defective = (
            np.isin(np.arange(len(scores)), [place for place, said in verdicts.items() if said is verdict])
            for verdict in (Verdict.GOOD, Verdict.DEFECTIVE)
        )

    def effect(self, limits: Limits) -> ThresholdEffect:
        """What limits would have done."""
        decided = self._decided(limits)
        rejected, passed = decided == _REJECT, decided == _PASS
        return ThresholdEffect(
            limits=limits,
            images=len(decided),
            rejected=int(rejected.sum()),
            reviewed=int((decided == _REVIEW).sum()),
            good=int(self._good.sum()),
            good_rejected=int((self._good & rejected).sum()),
            defects=int(self._defective.sum()),
            defects_passed=int((self._defective & passed).sum()),
        )

    def levels(self, shares: Sequence[float]) -> ScoreLevels:
        """Scores to choose a threshold from; `shares` are of the images, 0..1."""
        falling = np.sort(self._scores[self._judged])[::-1]
        places = [int(share * len(self._scores)) for share in shares]  # the first image that must not be reached
        good, defective = (self._scores[self._judged & said] for said in (self._good, self._defective))
        return ScoreLevels(
            by_share=tuple(_just_above(float(falling[place])) if place < len(falling) else None for place in places),
            above_good=_just_above(float(good.max())) if len(good) else None,
            lowest_defect=_at_most(float(defective.min())) if len(defective) else None,
        )

    def scores_by_decision(self, limits: Limits) -> dict[Decision, NDArray[np.float64]]:
        """The scores (N,) that decide, by what they would have decided."""
        decided = self._decided(limits)
        return {decision: self._scores[self._judged & (decided == place)] for place, decision in enumerate(_SEVERITY)}

    def decided_otherwise(self, one: Limits, other: Limits, most: int) -> tuple[int, list[DecidedOtherwise]]:
        """How many results two limits decide otherwise, and the first of them: those with a word, then by score."""
        before, after = self._decided(one), self._decided(other)
        changed = np.flatnonzero(before != after)
        silent = ~(self._good | self._defective)[changed]
        first = changed[np.lexsort((-self._scores[changed], silent))][:most].tolist()
        return len(changed), [
            DecidedOtherwise(int(self._results[place]), _SEVERITY[before[place]], _SEVERITY[after[place]])
            for place in first
        ]

    def _decided(self, limits: Limits) -> NDArray[np.int64]:
        """The place in `_SEVERITY` of each decision (N,): by the score, or whatever the score."""
        by_score = (self._scores >= limits.review).astype(np.int64) + (self._scores >= limits.reject)
        return np.where(self._judged, by_score, self._fixed)


def scored_contents(store: ResultStore, line: str, bundle_ids: Collection[str], since: datetime) -> ScoredContents:
    """Read what a line scored.

    Args:
        store: with the rows and verdicts.
        line: whose they are.
        bundle_ids: of the versions whose scores are comparable.
        since: from when on images count, with a zone.
    """
    results, scores = array("q"), array("d")  # rows one by one: those of a busy week take gigabytes together
    decisions, verdicts = dict[int, Decision](), dict[int, Verdict]()
    statement = _contents(line, bundle_ids, since).execution_options(yield_per=_ROWS_AT_ONCE)
    with store.reading() as connection:
        for place, row in enumerate(connection.execute(statement)):
            results.append(row.id)
            scores.append(math.nan if row.score is None else row.score)
            if row.reason not in (None, AT_FIRST_LOOK):  # which decides by its score, too
                decisions[place] = row.decision
            if row.verdict is not None:
                verdicts[place] = row.verdict
    return ScoredContents(np.array(results, np.int64), np.array(scores, np.float64), decisions, verdicts)


def limits_to_look_at(levels: ScoreLevels, today: Limits) -> Iterator[tuple[Limits, str]]:
    """Thresholds with their names, REVIEW where it is today. Later names of equal ones count: they say more.

    Args:
        levels: for `SHARES`.
        today: the line's threshold.
    """
    named = [(f"at most {share:.1%} of all", reject) for share, reject in zip(SHARES, levels.by_share, strict=True)]
    named += [("no known good", levels.above_good), ("every known defect", levels.lowest_defect)]
    for name, reject in named:
        if reject is not None:
            yield Limits(reject, min(today.review, reject)), name


def _contents(line: str, bundle_ids: Collection[str], since: datetime) -> Select[Any]:
    """Each content's latest row, with the latest verdict on it: one sort of the rows, each joined by an index."""
    # Many times as fast on SQLite as a join with the latest verdicts, or a look-up that it repeats for each use.
    order = (ResultRow.id.desc(), *LATEST_FIRST)
    latest = func.row_number().over(partition_by=ResultRow.image_sha256, order_by=order).label("latest")
    said = and_(VerdictRow.line == line, VerdictRow.image_sha256 == ResultRow.image_sha256, counts())
    rows = (
        select(ResultRow.id, ResultRow.score, ResultRow.reason, ResultRow.decision, VerdictRow.verdict, latest)
        .outerjoin_from(ResultRow, VerdictRow, said)
        .where(
            ResultRow.line == line,
            ResultRow.scored_at >= since,
            ResultRow.bundle_id.in_(bundle_ids),
            ResultRow.status == ResultStatus.SCORED,
        )
        .subquery()
    )
    return select(rows).where(rows.c.latest == 1)


def _at_most(score: float | None) -> float | None:
    """The largest number of six digits that is not above a score."""
    return None if score is None else _told(score, ROUND_FLOOR)


def _just_above(score: float | None) -> float | None:
    """The smallest number of six digits that is above a score."""
    return None if score is None else _told(math.nextafter(score, math.inf), ROUND_CEILING)


def _told(score: float, rounding: str) -> float:
    return float(Context(prec=_DIGITS, rounding=rounding).create_decimal(Decimal(score)))
