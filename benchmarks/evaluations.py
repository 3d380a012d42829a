"""The rows of `linewise evaluate --csv`, read back."""

from __future__ import annotations

import csv
from pathlib import Path

from flows.evaluate.figures.summary import Evaluation


def read_evaluation(path: Path) -> Evaluation:
    """The rows of a CSV file as the evaluation wrote them."""
    with path.open(newline="", encoding="utf-8") as file:
        return Evaluation([{key: text or None for key, text in row.items()} for row in csv.DictReader(file)])
