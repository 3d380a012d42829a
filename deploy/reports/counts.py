"""The counts of a scoring run: one list, which tables, pages, JSON and the Prefect UI all show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.calibration import Decision


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many files or frames of a run, of one line or of several, came to what.

    Args:
        scored: met for the first time by this bundle.
        skipped: had a score of this bundle already, which holds for them.
        unreadable: got no decision.
        decisions: over scored and skipped.
        not_judged: those among the decisions that rest on no finite score.
    """

    scored: int
    skipped: int
    unreadable: int
    decisions: Mapping[Decision, int]
    not_judged: Mapping[Decision, int]

    @classmethod
    def total(cls, parts: Iterable[Counts]) -> Counts:
        """The counts of all parts together."""
        known = list(parts)
        return cls(
            scored=sum(part.scored for part in known),
            skipped=sum(part.skipped for part in known),
            unreadable=sum(part.unreadable for part in known),
            decisions=_added(part.decisions for part in known),
            not_judged=_added(part.not_judged for part in known),
        )

    @property
    def found(self) -> int:
        """All of them."""
        return self.scored + self.skipped + self.unreadable

    @property
    def decided(self) -> int:
        """Those that got a decision."""
        return self.scored + self.skipped

    @property
    def flagged(self) -> int:
        """REVIEW and REJECT."""
        return self.decided - self.decisions[Decision.PASS]

    def per_second(self, seconds: float) -> float | None:
        """Scored ones a second, decoding and overlays included; None: nothing was new."""
        return self.scored / seconds if self.scored and seconds > 0 else None

    def figures(self) -> dict[str, int]:
        """What is told of them everywhere, by name and in the order to tell it."""
        return {
            "images": self.found,
            **{decision.lower(): self.decisions[decision] for decision in Decision},
            "unreadable": self.unreadable,
            "scored_before": self.skipped,
        }


def _added(parts: Iterable[Mapping[Decision, int]]) -> dict[Decision, int]:
    total: Counter[Decision] = Counter()
    for part in parts:
        total.update(part)
    return {decision: total[decision] for decision in Decision}
