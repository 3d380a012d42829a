"""Counts of a run's parts, and the worst of them, in flat memory."""

from __future__ import annotations

import heapq
import math
from collections import Counter

from deploy.reports.parts import MAX_PARTS, PartCounts, PartsShown, ReportPart
from deploy.results.records import NewPart
from deploy.results.schema import PartRow
from pipeline.calibration import Decision
from pipeline.kinds import SaidKind

_RANKS = {decision: rank for rank, decision in enumerate(Decision)}


class PartTally:
    """Takes parts as they are told; those that an earlier run told count, too. `fits`: an image was of a part."""

    def __init__(self) -> None:
        self.fits = False
        self._decisions: Counter[Decision] = Counter()
        self._incomplete = 0
        self._worst: list[tuple[tuple[int, float], int, ReportPart]] = []

    def add(self, part: NewPart | PartRow) -> None:
        """Count one more."""
        self._decisions[part.decision] += 1
        self._incomplete += len(part.views_seen) < part.views_expected
        badness = _RANKS[part.decision], math.inf if part.score is None else part.score
        shown = ReportPart(
            part=part.part,
            decision=part.decision,
            worst_view=part.worst_view,
            image_path=part.image_path,
            score=part.score,
            p_value=part.p_value,
            views_seen=tuple(part.views_seen),
            reason=part.reason,
            kind=None if part.kind is None else SaidKind(part.kind, part.kind_probability),
        )
        entry = (badness, -self._decisions.total(), shown)  # of equals those that came first stay
        if len(self._worst) < MAX_PARTS:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)

    @property
    def shown(self) -> PartsShown:
        """All of them counted, and the worst: rejected before doubtful ones, the highest scores first."""
        worst = sorted(self._worst, key=lambda entry: entry[:2], reverse=True)
        decisions = {decision: self._decisions[decision] for decision in Decision}
        counts = PartCounts(decisions=decisions, incomplete=self._incomplete)
        return PartsShown(counts, tuple(part for _, _, part in worst), self.fits)
