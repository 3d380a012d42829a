"""What other thresholds would have done to the images that a line scored lately, and to what people say of them.

One statement in an index of line and time answers for all thresholds at once. The scores are those that the rows have,
so only rows of versions with one and the same head count (`deploy.bundles.threshold_versions.scoring_alike`), and each
content counts once. A row with a reason was decided by something else than its score (the image is unlike the line, it
could not be judged, what is marked is too small): there no threshold changes anything. What it would mark on a part
that passed is not known, so a lower threshold is told without the least area of a defect.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from sqlalchemy import CTE, ColumnElement, and_, case, func, or_, select

from deploy.results.schema import ResultRow, ResultStatus, Verdict, VerdictRow
from deploy.results.store import ResultStore
from deploy.results.verdict_queries import LATEST_FIRST, counts
from pipeline.calibration import Decision

_DIGITS = 6  # of a score that is told, and typed again


@dataclass(frozen=True)
class Limits:
    """Scores at or above `reject` are REJECT, at or above `review` REVIEW; `review` is at most `reject`."""

    reject: float
    review: float


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


def threshold_effects(
    store: ResultStore, line: str, bundle_ids: Collection[str], since: datetime, limits: Sequence[Limits]
) -> tuple[ThresholdEffect, ...]:
    """What each of the limits would have done, in their order.

    Args:
        store: with the rows and verdicts.
        line: whose they are.
        bundle_ids: of the versions whose scores are comparable.
        since: from when on images count, with a zone.
        limits: to tell of.
    """
    seen = _contents(line, bundle_ids, since)
    good, defective = seen.c.verdict == Verdict.GOOD, seen.c.verdict == Verdict.DEFECTIVE
    columns: list[ColumnElement[int]] = [func.count(), _count(good), _count(defective)]
    for one in limits:
        rejected = _decided(seen, Decision.REJECT, seen.c.score >= one.reject)
        reviewed = _decided(seen, Decision.REVIEW, and_(seen.c.score >= one.review, seen.c.score < one.reject))
        passed = _decided(seen, Decision.PASS, seen.c.score < one.review)
        columns += [
            _count(rejected),
            _count(reviewed),
            _count(and_(good, rejected)),
            _count(and_(defective, passed)),
        ]
    with store.reading() as connection:
        numbers = [int(number or 0) for number in connection.execute(select(*columns).select_from(seen)).one()]
    (images, known_good, known_defects), rest = numbers[:3], numbers[3:]
    return tuple(
        ThresholdEffect(
            limits=one,
            images=images,
            rejected=rest[4 * place],
            reviewed=rest[4 * place + 1],
            good=known_good,
            good_rejected=rest[4 * place + 2],
            defects=known_defects,
            defects_passed=rest[4 * place + 3],
        )
        for place, one in enumerate(limits)
    )


def score_levels(
    store: ResultStore, line: str, bundle_ids: Collection[str], since: datetime, shares: Sequence[float]
) -> ScoreLevels:
    """Scores to choose a threshold from.

    Args:
        store: as in `threshold_effects`, and so are
        line: whose,
        bundle_ids: of which versions,
        since: and from when on.
        shares: of the images, 0..1.
    """
    seen = _contents(line, bundle_ids, since)
    judged = seen.c.reason.is_(None)
    place = func.row_number().over(order_by=seen.c.score.desc()).label("place")
    placed = select(seen.c.score, place).where(judged).subquery()
    ends = select(
        func.count(),
        func.max(case((and_(judged, seen.c.verdict == Verdict.GOOD), seen.c.score))),
        func.min(case((and_(judged, seen.c.verdict == Verdict.DEFECTIVE), seen.c.score))),
    ).select_from(seen)
    with store.reading() as connection:
        images, highest_good, lowest_defect = connection.execute(ends).one()
        places = [int(share * images) + 1 for share in shares]  # the first image that must not be reached
        scores = select(placed.c.place, placed.c.score).where(placed.c.place.in_(places))
        found: dict[int, float] = {row.place: row.score for row in connection.execute(scores)}
    return ScoreLevels(
        by_share=tuple(_just_above(found.get(place)) for place in places),
        above_good=_just_above(highest_good),
        lowest_defect=_at_most(lowest_defect),
    )


def _contents(line: str, bundle_ids: Collection[str], since: datetime) -> CTE:
    """Each content's latest row, with the latest verdict on it: one sort of the rows, each joined by an index."""
    # Many times as fast on SQLite as a join with the latest verdicts, or a look-up that it repeats for each use.
    order = (ResultRow.id.desc(), *LATEST_FIRST)
    latest = func.row_number().over(partition_by=ResultRow.image_sha256, order_by=order).label("latest")
    said = and_(VerdictRow.line == line, VerdictRow.image_sha256 == ResultRow.image_sha256, counts())
    rows = (
        select(ResultRow.score, ResultRow.reason, ResultRow.decision, VerdictRow.verdict, latest)
        .outerjoin_from(ResultRow, VerdictRow, said)
        .where(
            ResultRow.line == line,
            ResultRow.scored_at >= since,
            ResultRow.bundle_id.in_(bundle_ids),
            ResultRow.status == ResultStatus.SCORED,
        )
        .subquery()
    )
    return select(rows).where(rows.c.latest == 1).cte("seen")


def _decided(seen: CTE, decision: Decision, by_score: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether that is the decision: by its score, or whatever its score."""
    return or_(and_(seen.c.reason.is_(None), by_score), and_(seen.c.reason.is_not(None), seen.c.decision == decision))


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _at_most(score: float | None) -> float | None:
    """The largest number of six digits that is not above a score."""
    return None if score is None else _told(score, ROUND_FLOOR)


def _just_above(score: float | None) -> float | None:
    """The smallest number of six digits that is above a score."""
    return None if score is None else _told(math.nextafter(score, math.inf), ROUND_CEILING)


def _told(score: float, rounding: str) -> float:
    return float(Context(prec=_DIGITS, rounding=rounding).create_decimal(Decimal(score)))
