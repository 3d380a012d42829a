"""What a rule of the gate tells, and how two versions' decisions on the same images are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flows.gate.paired_scores import Pair, Said
from pipeline.calibration import Decision

CHANCE_OF_FALSE_REJECTS = 0.05
"""More false rejects, or more images of the production flagged, than the live version's hold a candidate where equal
versions would differ so with at most this chance: five more and none fewer are enough."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule: what it looks at, the live version's and the candidate's figures, and why it holds the candidate.

    `problem` is part of a sentence; empty: it lets the candidate through.
    """

    what: str
    live: str
    candidate: str
    problem: str = ""


def flagged(said: Said) -> bool:
    """Whether a version does not let the image pass."""
    return said.decision is not Decision.PASS


def differing(pairs: Sequence[Pair], counts: Callable[[Said], bool]) -> tuple[int, int, tuple[int, int | None]]:
    """On how many images only the candidate counts, on how many only the live version; and how often either does."""
    of_candidate = [counts(pair.candidate) for pair in pairs]
    of_live = [pair.live is not None and counts(pair.live) for pair in pairs]
    more = sum(one and not other for one, other in zip(of_candidate, of_live, strict=True))
    fewer = sum(other and not one for one, other in zip(of_candidate, of_live, strict=True))
    return more, fewer, (sum(of_candidate), sum(of_live) if pairs and pairs[0].live is not None else None)


def counted_check(what: str, pairs: Sequence[Pair], counts: tuple[int, int | None], problem: str) -> Check:
    """The check of a rule that counts the candidate's and the live version's images among the pairs."""
    of_candidate, of_live = counts
    told = "–" if of_live is None else count_of(of_live, len(pairs))
    return Check(what=what, live=told, candidate=count_of(of_candidate, len(pairs)), problem=problem)


def count_of(count: int, n: int) -> str:
    """Both, in words."""
    return f"{count} of {n}"


def by_chance(chance: float) -> str:
    """How often equal versions would differ so, in words."""
    return f"by chance in {chance:.2g} of cases"
