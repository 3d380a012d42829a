"""What a person says on the review page: a word, a skip, taking back; and the trail of all that was said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import and_, select, tuple_
from sqlalchemy.orm import Session, aliased

from deploy.results.records import NewVerdict
from deploy.results.schema import ResultRow, SkipRow, Verdict, VerdictRow
from deploy.results.store import ResultStore
from deploy.results.verdict_queries import counts
from deploy.review.questions import Question

PAGE = 50
"""Words on a page of the trail."""

Box = tuple[float, float, float, float]
"""Left, top, width and height, in pixels of the upright image."""


@dataclass(frozen=True)
class Said:
    """A line of the trail.

    Args:
        word: what was said.
        withdrawn_at: when it was taken back; None: it stands, or takes another one back.
        result: what the bundle had said of the image; None where nobody was asked, or the row has gone.
    """

    word: VerdictRow
    withdrawn_at: datetime | None
    result: ResultRow | None


def say(
    store: ResultStore, question: Question, verdict: Verdict, *, by: str, kind: str | None, box: Box | None
) -> None:
    """Note a person's answer. Kind and box are a defect's; of a good part they are dropped.

    Raises:
        StorageError: the store cannot be written.
    """
    result = question.result
    assert result.image_sha256 is not None, "an image without a content is not asked about"
    defective = verdict is Verdict.DEFECTIVE
    word = NewVerdict(
        result.line,
        result.image_path,
        result.image_sha256,
        verdict,
        by=by,
        kind=kind if defective else None,
        box=list(box) if defective and box is not None else None,
        question=question.kind,
        bundle_id=result.bundle_id,
    )
    store.add_verdicts([word])


def skip(store: ResultStore, question: Question, *, by: str) -> None:
    """Note that a person has no answer.

    Raises:
        StorageError: the store cannot be written.
    """
    result = question.result
    row = SkipRow(line=result.line, result_id=result.id, question=question.kind, by=by, skipped_at=datetime.now(UTC))
    with store.writing_session() as session:
        session.add(row)


def take_back(store: ResultStore, line: str, *, by: str) -> Question | None:
    """Take a person's last word or skip on a line back, and return its question; None: there is none.

    A word stays and a later row withdraws it, so that an earlier word on the image counts again.

    Raises:
        StorageError: the store cannot be written.
    """
    with store.writing_session() as session:
        word = _last_word(session, line, by)
        skipped = session.scalars(
            select(SkipRow)
            .where(SkipRow.line == line, SkipRow.by == by, SkipRow.taken_back_at.is_(None))
            .order_by(SkipRow.skipped_at.desc(), SkipRow.id.desc())
            .limit(1)
        ).first()
        if skipped is not None and (word is None or skipped.skipped_at > word.said_at):
            skipped.taken_back_at = datetime.now(UTC)
            result, kind = session.get(ResultRow, skipped.result_id), skipped.question
        elif word is not None:
            session.add(_withdrawal(word, by))
            result, kind = result_of(session, word), word.question
        else:
            return None
        return None if result is None else Question(result, kind)


def kinds_of(session: Session, line: str) -> list[str]:
    """The kinds of defects that people named on a line, sorted."""
    named = select(VerdictRow.kind).where(VerdictRow.line == line, VerdictRow.kind.is_not(None)).distinct()
    return sorted(kind for kind in session.scalars(named) if kind)


def result_of(session: Session, word: VerdictRow) -> ResultRow | None:
    """What was shown to the person who said it."""
    shown = ResultRow.bundle_id == word.bundle_id
    return session.scalars(select(ResultRow).where(shown, ResultRow.image_sha256 == word.image_sha256)).first()


def trail(session: Session, line: str, before: tuple[datetime, int] | None = None) -> list[Said]:
    """All that was ever said on a line, the latest first, `PAGE` at most.

    Args:
        session: to ask in.
        line: the line.
        before: time and id of the last word of the page before.
    """
    later = aliased(VerdictRow)
    shown = and_(ResultRow.bundle_id == VerdictRow.bundle_id, ResultRow.image_sha256 == VerdictRow.image_sha256)
    statement = (
        select(VerdictRow, later.said_at, ResultRow)
        .outerjoin(later, later.withdraws == VerdictRow.id)
        .outerjoin(ResultRow, shown)
        .where(VerdictRow.line == line)
        .order_by(VerdictRow.said_at.desc(), VerdictRow.id.desc())
        .limit(PAGE)
    )
    if before is not None:
        statement = statement.where(tuple_(VerdictRow.said_at, VerdictRow.id) < before)
    return [Said(*row) for row in session.execute(statement)]


def _last_word(session: Session, line: str, by: str) -> VerdictRow | None:
    """The last that was said on the page: words of the terminal and of files are not taken back here."""
    said_here = VerdictRow.bundle_id.is_not(None)
    statement = select(VerdictRow).where(VerdictRow.line == line, VerdictRow.by == by, said_here, counts())
    return session.scalars(statement.order_by(VerdictRow.said_at.desc(), VerdictRow.id.desc()).limit(1)).first()


def _withdrawal(word: VerdictRow, by: str) -> VerdictRow:
    return VerdictRow(
        line=word.line,
        image_sha256=word.image_sha256,
        image_path=word.image_path,
        verdict=word.verdict,
        by=by,
        said_at=datetime.now(UTC),
        kind=word.kind,
        box=word.box,
        question=word.question,
        bundle_id=word.bundle_id,
        withdraws=word.id,
    )
