"""By which rules the plant's new meta-model goes live, on made-up figures of held-out lines."""

from __future__ import annotations

import pytest

from flows.meta_train_plant.held_out_lines import Figures
from flows.meta_train_plant.meta_model_gate import ComparedLine, MetaModelComparison, too_few_lines


def compared(gains: list[float], more_missed: list[float] | None = None) -> MetaModelComparison:
    """Lines on which the candidate gains so many points of image AUROC, and misses so many more defects."""
    lines = [
        ComparedLine(
            name=f"line {number}",
            candidate=Figures(image_auroc=0.8 + gain / 100, missed_defects=0.4 + missed / 100, false_rejects=0.0),
            present=Figures(image_auroc=0.8, missed_defects=0.4, false_rejects=0.0),
        )
        for number, (gain, missed) in enumerate(zip(gains, more_missed or [0.0] * len(gains), strict=True))
    ]
    return MetaModelComparison(present="auto", lines=tuple(lines))


@pytest.mark.parametrize(
    ("gains", "more_missed", "problem"),
    [
        ([1, 2, 1, 0, 3], None, None),
        ([2, 2, -0.4, -0.4, 0], None, None),
        ([0, 0, 0, 0, 0], None, "it ranks held-out lines no better than auto (image AUROC +0.0 points [0.0, 0.0])"),
        ([-1, -2, 0, 1, -1], None, "it ranks held-out lines no better than auto"),
        ([20, -5, -5, 0, 0], None, "it may rank lines worse than auto (image AUROC +2.0 points"),
        ([1, 2, 1, 0, 3], [5, 6, 7, 5, 4], "it misses more defects than auto (+5.4 points"),
        ([1, 2, 1, 0, 3], [5, -6, 7, -5, 4], None),
    ],
)
def test_a_candidate_is_held_or_let_through(
    gains: list[float], more_missed: list[float] | None, problem: str | None
) -> None:
    problems = compared(gains, more_missed).problems
    assert len(problems) == (problem is not None)
    assert problem is None or problems[0].startswith(problem)


def test_few_lines_are_not_compared() -> None:
    assert too_few_lines(5, 4) == ""
    said = "5 lines with 9 good and 5 defective images each are needed to judge by, and there are 4"
    assert too_few_lines(4, 4) == said
