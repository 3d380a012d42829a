"""Which image a person is asked about next: five kinds of questions in turn, each a look-up in an index.

FLAGGED (the highest score first) and BORDERLINE (the nearest to the reject threshold) find defects, UNLIKE finds what
changed, CONTESTED says whether a version that is held is right, and RANDOM alone tells rates. All but the last are
about images that nobody has said a word on. RANDOM is about any image without an answer to a RANDOM question, also one
whose word is known: to leave those out would leave out the defects, which the others found. It takes contents in the
order of their SHA-256, which has nothing to do with what they show: so the images asked about are at any time a uniform
sample of those that there are, and what comes in later has its share as soon as it is caught up with. CONTESTED does
likewise, and is about what any version of the line scored, as the gate looks at the whole production.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select
from sqlalchemy.orm import Session, aliased

from deploy.results.schema import QuestionKind, ResultRow, ResultStatus, SkipRow, VerdictRow
from deploy.results.verdict_queries import counts
from pipeline.calibration import Decision
from pipeline.likeness import UNLIKE

MOST_COUNTED = 1000
"""As many open questions are counted of a line; what is beyond is "so many or more"."""
_TURN = (
    QuestionKind.CONTESTED,
    QuestionKind.FLAGGED,
    QuestionKind.RANDOM,
    QuestionKind.BORDERLINE,
    QuestionKind.UNLIKE,
)
_NOT_PASSED = ResultRow.decision != literal_column("'PASS'")
"""In the words of the index of rows with a reason: it is not used for a condition with a parameter."""


@dataclass(frozen=True)
class Question:
    """An image that a person is asked about.

    Args:
        result: what the bundle said of it.
        kind: why it is asked about; None: a person chose it.
    """

    result: ResultRow
    kind: QuestionKind | None


@dataclass(frozen=True)
class Asked:
    """Whom questions are put to, and on what.

    Args:
        line: the line.
        bundle_id: of the bundle whose results are asked about.
        reject_threshold: that bundle's.
        by: who is asked; what they skipped is left out.
        aside: ids of results that are left for later.
        after: the kind that was asked before; None: as the store says.
        contested: contents of images that a held version flags; those that this bundle does not are asked about.
    """

    line: str
    bundle_id: str
    reject_threshold: float
    by: str
    aside: Collection[int] = ()
    after: QuestionKind | None = None
    contested: Collection[str] = ()


def latest_result(session: Session, line: str) -> ResultRow | None:
    """The line's newest result: its bundle is the one that is asked about."""
    newest = select(ResultRow).where(ResultRow.line == line).order_by(ResultRow.scored_at.desc()).limit(1)
    return session.scalars(newest).first()


def decisions_since(session: Session, line: str, since: datetime) -> dict[Decision, int]:
    """How many of the line's images got each decision since then."""
    statement = (
        select(ResultRow.decision, func.count())
        .where(ResultRow.line == line, ResultRow.scored_at >= since)
        .group_by(ResultRow.decision)
    )
    found = {decision: count for decision, count in session.execute(statement) if decision is not None}
    return {decision: found.get(decision, 0) for decision in Decision}


def open_questions(session: Session, asked: Asked) -> int:
    """How many flagged images nobody has said a word on, `MOST_COUNTED` at most."""
    some = _open(asked, QuestionKind.FLAGGED).where(ResultRow.decision.in_((Decision.REJECT, Decision.REVIEW)))
    limited = some.with_only_columns(ResultRow.id).limit(MOST_COUNTED).subquery()
    return session.scalar(select(func.count()).select_from(limited)) or 0


def next_question(session: Session, asked: Asked) -> Question | None:
    """The next question: of the kind whose turn it is, else of the next kind that has one. None: there is none."""
    last = asked.after or _last_kind(session, asked)
    first = 0 if last is None else _TURN.index(last) + 1
    for kind in (*_TURN[first:], *_TURN[:first]):
        first_rows = (session.scalars(statement.limit(1)).first() for statement in statements(asked, kind))
        found = (row for row in first_rows if row is not None)
        if kind is QuestionKind.BORDERLINE:
            result = min(found, key=lambda row: abs((row.score or 0.0) - asked.reject_threshold), default=None)
        else:
            result = next(found, None)
        if result is not None:
            return Question(result, kind)
    return None


def statements(asked: Asked, kind: QuestionKind) -> Iterator[Select[ResultRow]]:
    """What to ask the store for a question of a kind: each statement's first row is one that could be asked.

    Of BORDERLINE the one nearest to the threshold is, of the others the first.
    """
    some, threshold = _open(asked, kind), asked.reject_threshold
    match kind:
        case QuestionKind.FLAGGED:  # two look-ups in the index's order; one for both decisions would sort
            for decision in (Decision.REJECT, Decision.REVIEW):
                yield some.where(ResultRow.decision == decision).order_by(ResultRow.score.desc())
        case QuestionKind.BORDERLINE:
            for decision in Decision:
                scored = some.where(ResultRow.decision == decision)
                yield scored.where(ResultRow.score >= threshold).order_by(ResultRow.score)
                yield scored.where(ResultRow.score < threshold).order_by(ResultRow.score.desc())
        case QuestionKind.UNLIKE:
            reason = ResultRow.reason  # no image that is unlike the line passes
            yield some.where(_NOT_PASSED, reason.is_not(None), reason.startswith(UNLIKE)).order_by(ResultRow.id.desc())
        case QuestionKind.CONTESTED:
            if asked.contested:  # since they were noted, a version that flags them may have gone live
                this, later = ResultRow.bundle_id == asked.bundle_id, aliased(ResultRow)
                newer = select(later.id).where(
                    later.image_sha256 == ResultRow.image_sha256,
                    later.line.concat("") == asked.line,
                    later.id > ResultRow.id,
                )
                passed = or_(~this, ResultRow.decision.not_in((Decision.REJECT, Decision.REVIEW)))
                contested = ResultRow.image_sha256.in_(asked.contested)
                yield some.where(contested, passed, ~newer.exists()).order_by(ResultRow.image_sha256)
        case QuestionKind.RANDOM:
            yield some.order_by(ResultRow.image_sha256)


def _open(asked: Asked, kind: QuestionKind) -> Select[ResultRow]:
    """The scored images that a question of the kind may be about: the bundle's, or the line's."""
    word = select(VerdictRow.id).where(
        VerdictRow.line == asked.line, VerdictRow.image_sha256 == ResultRow.image_sha256, counts()
    )
    if kind is QuestionKind.RANDOM:
        word = word.where(VerdictRow.question == kind, VerdictRow.bundle_id == asked.bundle_id)
    skipped = select(SkipRow.id).where(
        SkipRow.result_id == ResultRow.id, SkipRow.by == asked.by, SkipRow.taken_back_at.is_(None)
    )
    conditions: list[ColumnElement[bool]] = [
        _of_line(asked) if kind is QuestionKind.CONTESTED else ResultRow.bundle_id == asked.bundle_id,
        ResultRow.status == ResultStatus.SCORED,
        ResultRow.image_sha256.is_not(None),
        ~word.exists(),
        ~skipped.exists(),
    ]
    if asked.aside:
        conditions.append(ResultRow.id.not_in(asked.aside))
    return select(ResultRow).where(*conditions)


def _of_line(asked: Asked) -> ColumnElement[bool]:
    """Whether a result is of the line, as an expression: the index of all its rows is none to look contents up in."""
    return ResultRow.line.concat("") == asked.line


def _last_kind(session: Session, asked: Asked) -> QuestionKind | None:
    """Of the person's last question on the line that they answered or skipped, and did not take that back."""
    said = select(VerdictRow.said_at, VerdictRow.question).where(
        VerdictRow.line == asked.line, VerdictRow.by == asked.by, VerdictRow.question.is_not(None), counts()
    )
    skipped = select(SkipRow.skipped_at, SkipRow.question).where(
        SkipRow.line == asked.line,
        SkipRow.by == asked.by,
        SkipRow.question.is_not(None),
        SkipRow.taken_back_at.is_(None),
    )
    ends = [
        session.execute(said.order_by(VerdictRow.said_at.desc()).limit(1)).first(),
        session.execute(skipped.order_by(SkipRow.skipped_at.desc()).limit(1)).first(),
    ]
    last = max((end for end in ends if end is not None), key=lambda end: end[0], default=None)
    return None if last is None else last[1]
