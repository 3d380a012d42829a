"""A memory bank of a few good images of a line, scored on a query: what memory_bank.py and scale.py measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.open_backbone import OpenBackbone
from model_zoo.learners.memory_bank import MemoryBankConfig, MemoryBankLearner
from pipeline.episodes import QuerySet
from pipeline.evaluation import Row, Truth, evaluate_outputs, score_levels
from pipeline.head_calibration import calibrate_head
from pipeline.product_lines.lines import ImageRecord
from pipeline.support import FeatureSource, SupportConfig, build_support

GOOD = 4
METRICS = ("image_auroc", "pixel_auroc", "aupro")
BANK_ROWS = MemoryBankConfig().bank_budget
Scores = NDArray[np.float64]


class Draw(NamedTuple):
    """Metrics of one draw, and the image scores of its query and of its support, leave-one-out."""

    row: Row
    scores: Scores
    leave_one_out: Scores


def measure(
    good: Sequence[ImageRecord],
    query: QuerySet,
    truth: Truth,
    features: FeatureSource,
    backbone: OpenBackbone,
    *,
    seed: int,
    rows: int = BANK_ROWS,
) -> Draw:
    """Build the bank, at most `rows` a level, and score the query."""
    support = build_support(good, (), features, backbone.preprocess(), SupportConfig(synthetic=0), seed=seed)
    head = MemoryBankLearner(backbone.spec, MemoryBankConfig(bank_budget=rows)).adapt(support, seed=seed)
    output, loo = score_levels(head, query.levels), head.leave_one_out(support)
    row = evaluate_outputs(output, truth, calibrate_head(head, support, 0.01, None))
    return Draw(row, output.image_score.double().numpy(), loo.image_score.double().numpy())


def mean_metrics(rows: Sequence[dict[str, Any]]) -> list[float]:
    """The mean of each of METRICS over draws; nan where no draw has it."""
    found = ([row[key] for row in rows if row.get(key) is not None] for key in METRICS)
    return [float(np.mean(values)) if values else math.nan for values in found]


def mean_lines(lines: Sequence[Sequence[float]]) -> list[float]:
    """The mean of each of METRICS over the lines that have it."""
    return [float(value) for value in np.nanmean(np.array(lines), 0)]
