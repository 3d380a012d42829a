"""The gate of a quantised backbone: does the line still rank and decide its own images as it does in float32?

Quantised features are a few per cent off, so that no tolerance on features or scores could hold. What must hold is what
the plant sees: the order of its images, how well defects stand out, and the decisions at the stored threshold.

Shape letter: N images of the line that its bundle was not adapted from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.errors import PrecisionError
from pipeline.metrics import image_auroc

MIN_RANK_CORRELATION = 0.95
MAX_AUROC_LOSS = 0.01
MAX_DECISIONS_CHANGED = 0.05
MAX_GOOD_SHIFT = 0.5
LIMITS = (
    f"a rank correlation of at least {MIN_RANK_CORRELATION}, an image AUROC at most {100 * MAX_AUROC_LOSS:g} points "
    f"lower, at most {MAX_DECISIONS_CHANGED:.0%} of the decisions changed, and good scores moved by at most "
    f"{MAX_GOOD_SHIFT} of their standard deviation"
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Scores of the same images in float32 and in int8.

    Args:
        good: number of good images.
        defects: number of defective ones.
        rank_correlation: Spearman's, over all images, -1..1; 0 where one of the two scores all images alike.
        auroc_float32: image AUROC, 0..1; nan without a defect.
        auroc_int8: likewise.
        good_shift: mean of int8 minus float32 over the good images, in standard deviations of their float32 scores.
        largest_difference: of any image, absolute, in the same unit.
        decisions_changed: how many images get another decision (PASS, REVIEW, REJECT) of the same bundle.
    """

    good: int
    defects: int
    rank_correlation: float
    auroc_float32: float
    auroc_int8: float
    good_shift: float
    largest_difference: float
    decisions_changed: int

    @property
    def passes(self) -> bool:
        """Whether all figures are within `LIMITS`; what is not a number is not, but for an AUROC without defects."""
        return (
            self.rank_correlation >= MIN_RANK_CORRELATION
            and (self.defects == 0 or self.auroc_float32 - self.auroc_int8 <= MAX_AUROC_LOSS)
            and self.decisions_changed <= MAX_DECISIONS_CHANGED * (self.good + self.defects)
            and abs(self.good_shift) <= MAX_GOOD_SHIFT
        )

    @property
    def figures(self) -> str:
        """All figures, as part of a sentence."""
        auroc = (
            f"image AUROC {100 * self.auroc_float32:.2f} % in float32 and {100 * self.auroc_int8:.2f} % in int8, "
            if self.defects
            else ""
        )
        return (
            f"rank correlation {self.rank_correlation:.3f}, {auroc}{self.decisions_changed} of "
            f"{self.good + self.defects} decisions changed, good scores moved by {self.good_shift:+.2f} standard "
            f"deviations, the largest difference {self.largest_difference:.2f}"
        )

    def require(self) -> None:
        """Let a quantised line through, or not.

        Raises:
            PrecisionError: with all figures and limits.
        """
        if not self.passes:
            raise PrecisionError(
                f"int8 to rank {self.good} good and {self.defects} defective images as float32 does ({LIMITS})",
                self.figures,
                "export in float32: leave --int8 out",
            )


def compare(
    float32_N: NDArray[np.floating],
    int8_N: NDArray[np.floating],
    defective_N: NDArray[np.bool_],
    *,
    decisions_changed: int,
) -> Comparison:
    """Compare the image scores of the same images, and take in how many were decided otherwise.

    Args:
        float32_N: (N,) of the float32 backbone.
        int8_N: (N,) of the int8 one, with the same head.
        defective_N: (N,) which images show a defect; at least two good ones.
        decisions_changed: see `Comparison`; counted by whoever can decide.
    """
    before, after = float32_N.astype(np.float64), int8_N.astype(np.float64)
    good = ~defective_N
    assert before.shape == after.shape == defective_N.shape and good.sum() >= 2
    finite = bool(np.isfinite(before).all() and np.isfinite(after).all())
    both = finite and bool(defective_N.any())
    spread = float(before[good].std(ddof=1))
    differences = (after - before) / (spread if spread > 0 else math.nan)
    ranked = finite and np.ptp(before) > 0 and np.ptp(after) > 0
    return Comparison(
        good=int(good.sum()),
        defects=int(defective_N.sum()),
        rank_correlation=_spearman(before, after) if ranked else 0.0,
        auroc_float32=image_auroc(before, defective_N) if both else math.nan,
        auroc_int8=image_auroc(after, defective_N) if both else math.nan,
        good_shift=float(differences[good].mean()),
        largest_difference=float(np.abs(differences).max()),
        decisions_changed=decisions_changed,
    )


def _spearman(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """The correlation of the ranks, ties sharing theirs."""
    return float(np.corrcoef(rankdata(before), rankdata(after))[0, 1])
