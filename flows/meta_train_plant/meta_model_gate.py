"""By which rules the plant's new meta-model replaces the one before it: both on the same held-out lines."""

from __future__ import annotations

from dataclasses import dataclass

from flows.meta_train_plant.held_out_lines import Figures
from flows.meta_train_plant.registered_lines import LEAST_JUDGED
from pipeline.metrics import Interval, paired_bootstrap

LEAST_LINES = 5
"""Lines to judge by below which nothing is promoted: of fewer an interval says too little."""
AUROC_LOSS = 0.5
"""Points of image AUROC: where the interval of the gain reaches below this loss, the candidate is held."""
_TIE = 1e-9


@dataclass(frozen=True, kw_only=True)
class ComparedLine:
    """A held-out line, as the candidate and what the plant has at present judge it."""

    name: str
    candidate: Figures
    present: Figures


@dataclass(frozen=True, kw_only=True)
class MetaModelComparison:
    """The candidate beside the present meta-model, or `auto`, line by line. Points are per cent."""

    present: str
    lines: tuple[ComparedLine, ...]

    @property
    def auroc_gain(self) -> Interval:
        """The mean over lines of what the candidate gains in image AUROC, in points, with its 95 % interval."""
        return _points([line.candidate.image_auroc - line.present.image_auroc for line in self.lines])

    @property
    def more_missed(self) -> Interval:
        """Likewise of the defects that it misses more than the present one, each at its promised false-reject rate."""
        return _points([line.candidate.missed_defects - line.present.missed_defects for line in self.lines])

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the candidate is held, in parts of sentences; empty: it may go live."""
        gain, missed = self.auroc_gain, self.more_missed
        found: list[str] = []
        if gain.mean <= _TIE:
            found.append(f"it ranks held-out lines no better than {self.present} (image AUROC {in_points(gain)})")
        elif gain.low < -AUROC_LOSS:
            found.append(f"it may rank lines worse than {self.present} (image AUROC {in_points(gain)})")
        if missed.low > _TIE:
            found.append(f"it misses more defects than {self.present} ({in_points(missed)})")
        return tuple(found)


def too_few_lines(judging: int, good: int) -> str:
    """Why nothing can be compared, as part of a sentence; empty: it can.

    Args:
        judging: lines with images enough to judge by.
        good: images of a support.
    """
    if judging >= LEAST_LINES:
        return ""
    each = f"{good + LEAST_JUDGED} good and {LEAST_JUDGED} defective images"
    return f"{LEAST_LINES} lines with {each} each are needed to judge by, and there are {judging}"


def in_points(interval: Interval) -> str:
    """In words: +0.8 points [0.3, 1.4]."""
    return f"{interval.mean:+.1f} points [{interval.low:.1f}, {interval.high:.1f}]"


def _points(differences: list[float]) -> Interval:
    return paired_bootstrap([100 * value for value in differences], seed=0)
