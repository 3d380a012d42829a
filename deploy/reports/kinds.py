"""What was said of the kinds of defects of images whose kind is known: a confusion table of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.kinds import NONE_OF_THESE


@dataclass(frozen=True)
class KindsTable:
    """A row for each true kind, by what was said: `rows` have as many counts as there are `said`."""

    said: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def right(self) -> int:
        """Images of which the true kind was said."""
        return sum(counts[self.said.index(truth)] for truth, counts in self.rows if truth in self.said)

    @property
    def known(self) -> int:
        """Images whose kind is known."""
        return sum(sum(counts) for _, counts in self.rows)


def kinds_table(names: Sequence[str], found: Iterable[tuple[str, str]]) -> KindsTable | None:
    """The table of what was found, pairs of the true kind and what was said; None: nothing.

    Args:
        names: of the line's kinds, in their order.
        found: of each image; the true kind may be one that the line has not learned.
    """
    counted = Counter(found)
    if not counted:
        return None
    said = (*names, NONE_OF_THESE)
    truths = [*names, *sorted({truth for truth, _ in counted} - set(names))]
    rows = ((truth, tuple(counted[truth, each] for each in said)) for truth in truths)
    return KindsTable(said, tuple(row for row in rows if any(row[1])))
