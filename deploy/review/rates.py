"""What the verdicts so far say of a bundle: how many good parts it stops, how many defective ones it lets pass.

The estimator is the plain share among the images that RANDOM questions were answered about, with its exact interval
(Clopper-Pearson). Those images are a uniform sample, whatever was decided on them (see `deploy.review.questions`), so
each counts alike: given how many of them are good, the number of rejected ones among these is binomial with the rate
that is asked for. Had each decision been sampled by itself, the shares would have to be weighted by how many images got
it, and no exact interval of a sum of such shares is known. Answers to other questions are left out: FLAGGED ones, say,
are about defects that were found. That the images are finite in number would make the intervals narrower; they are what
holds for parts to come.

An image counts once, with the word that counts by now, also where it was said for another reason later. Skipped ones
are missing; the page says how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from scipy.special import betaincinv
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deploy.results.schema import QuestionKind, ResultRow, SkipRow, Verdict, VerdictRow
from deploy.results.verdict_queries import counts, verdicts_of
from pipeline.calibration import Decision

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """A share with its exact interval.

    Args:
        name: what it is a share of, in words.
        hits: how many.
        count: of how many.
    """

    name: str
    hits: int
    count: int

    @property
    def share(self) -> float | None:
        """0..1; None: of nothing."""
        return self.hits / self.count if self.count else None

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson's, 0..1."""
        return clopper_pearson(self.hits, self.count)


@dataclass(frozen=True)
class Answers:
    """The answers to the random questions on a bundle.

    Args:
        table: how many images got a word and a decision.
        skipped: random questions without an answer.
    """

    table: Mapping[tuple[Verdict, Decision], int]
    skipped: int

    @property
    def count(self) -> int:
        """How many images they are about."""
        return sum(self.table.values())

    @property
    def rates(self) -> tuple[Rate, ...]:
        """False rejects and missed defects, both without and with what goes to REVIEW."""
        stopped, let_through = (Decision.REJECT, Decision.REVIEW), (Decision.PASS, Decision.REVIEW)
        return (
            self._rate("Good parts rejected", Verdict.GOOD, (Decision.REJECT,)),
            self._rate("Good parts rejected or to be looked at", Verdict.GOOD, stopped),
            self._rate("Defects that pass", Verdict.DEFECTIVE, (Decision.PASS,)),
            self._rate("Defects that are not rejected", Verdict.DEFECTIVE, let_through),
        )

    def _rate(self, name: str, verdict: Verdict, decisions: Collection[Decision]) -> Rate:
        of_verdict = {decision: self.table.get((verdict, decision), 0) for decision in Decision}
        return Rate(name, sum(of_verdict[decision] for decision in decisions), sum(of_verdict.values()))


def random_answers(session: Session, line: str, bundle_id: str) -> Answers:
    """What people said of images that a bundle had scored and that they were asked about at random."""
    asked = select(VerdictRow.image_sha256).where(
        VerdictRow.bundle_id == bundle_id, VerdictRow.question == QuestionKind.RANDOM, VerdictRow.line == line, counts()
    )
    decided = select(ResultRow.image_sha256, ResultRow.decision).where(
        ResultRow.bundle_id == bundle_id, ResultRow.image_sha256.in_(asked)
    )
    decisions = {sha256: decision for sha256, decision in session.execute(decided) if decision is not None}
    words = session.scalars(verdicts_of(line, image_sha256=None, overruled=False, withdrawn=False))
    table = Counter((word.verdict, decisions[word.image_sha256]) for word in words if word.image_sha256 in decisions)
    skips = (
        select(func.count(SkipRow.result_id.distinct()))
        .join(ResultRow, ResultRow.id == SkipRow.result_id)
        .where(
            SkipRow.line == line,
            SkipRow.question == QuestionKind.RANDOM,
            SkipRow.taken_back_at.is_(None),
            ResultRow.bundle_id == bundle_id,
            ResultRow.image_sha256.not_in(asked),
        )
    )
    return Answers(table, session.scalar(skips) or 0)


def clopper_pearson(hits: int, count: int) -> tuple[float, float]:
    """The exact two-sided interval of a binomial share, 0..1; all of it where nothing was counted."""
    beyond = (1 - CONFIDENCE) / 2
    low = float(betaincinv(hits, count - hits + 1, beyond)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - beyond)) if hits < count else 1.0
    return low, high
