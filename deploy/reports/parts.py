"""What a page and a table show of parts that have several views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.calibration import Decision
from pipeline.kinds import SaidKind

MAX_PARTS = 500
"""How many parts a page names, the worst; it counts all of them."""


@dataclass(frozen=True, kw_only=True)
class PartCounts:
    """How many parts came to what; `incomplete` ones, which miss a view, are among the decisions."""

    decisions: Mapping[Decision, int]
    incomplete: int

    @classmethod
    def total(cls, counts: Iterable[PartCounts]) -> PartCounts:
        """All of them together."""
        decisions: Counter[Decision] = Counter()
        incomplete = 0
        for each in counts:
            decisions.update(each.decisions)
            incomplete += each.incomplete
        return cls(decisions={decision: decisions[decision] for decision in Decision}, incomplete=incomplete)

    @property
    def found(self) -> int:
        """All of them."""
        return sum(self.decisions.values())

    def figures(self) -> dict[str, int]:
        """What is told of them everywhere, by name and in the order to tell it."""
        decisions = {f"parts_{decision.lower()}": self.decisions[decision] for decision in Decision}
        return {"parts": self.found, **decisions, "parts_incomplete": self.incomplete}


@dataclass(frozen=True, kw_only=True)
class ReportPart:
    """A part as it was told; fields are `deploy.results.schema.PartRow`'s, `kind` with its probability."""

    part: str
    decision: Decision
    worst_view: str
    image_path: str
    score: float | None
    p_value: float | None
    views_seen: tuple[str, ...]
    reason: str | None
    kind: SaidKind | None = None


@dataclass(frozen=True)
class PartsShown:
    """A line's parts on its page: all counted, and the worst, the worst first; whether the rule fits any image."""

    counts: PartCounts
    worst: tuple[ReportPart, ...]
    fits: bool = True
