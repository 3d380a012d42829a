"""Rows of an evaluation whose figures are known by hand."""

from __future__ import annotations

import math
from typing import Any

from flows.evaluate.figures.evaluation_rows import Setting

FOUR = Setting(4, 0)


def row(line: str, learner: str, seed: int, image_auroc: float | None, defects: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "line": line,
        "learner": learner,
        "good": 4,
        "defects": defects,
        "seed": seed,
        "image_auroc": image_auroc,
        **more,
    }


# Data set "a" has two lines, "b" one; maml beats the memory bank by .10 and .20 on a's lines and loses .05 on b's.
ROWS = [
    row("a/one", "maml", 0, 0.80, adapt_seconds=1.0, aupro=0.5),
    row("a/one", "maml", 1, 0.90, adapt_seconds=3.0, aupro=math.nan),
    row("a/one", "memory_bank", 0, 0.70, adapt_seconds=0.5),
    row("a/one", "memory_bank", 1, 0.80, adapt_seconds=0.5),
    row("a/two", "maml", 0, 0.70),
    row("a/two", "maml", 1, 0.80),
    row("a/two", "memory_bank", 0, 0.50),
    row("a/two", "memory_bank", 1, 0.60),
    row("b/three", "maml", 0, 0.90),
    row("b/three", "maml", 1, 0.90),
    row("b/three", "memory_bank", 0, 0.95),
    row("b/three", "memory_bank", 1, 0.95),
]
