"""What the border weight and the calibration's rules do to the memory bank, on real lines.

    python -m benchmarks.memory_bank LINES [--peer peer.json] [--write]

4 good images, 3 draws (`Random(seed)` over the sorted files of train/good), all test images as query. `peer.json` holds
another tool's figures on the same draws: {"tool": ..., "rows": [{"line", "seed", "image_auroc", "pixel_auroc", ...}]}.
`--write` puts the figures into memory_bank.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.draws import cached, draw, scored_bank
from benchmarks.study import Study, options
from benchmarks.tables import METRICS, mean, metrics, percent, table
from model_zoo.heads.bank import AT_BORDER
from pipeline.calibration import (
    PooledCalibration,
    SourceScores,
    calibrate,
    centre,
    lines_alike,
    pool,
)
from pipeline.good_law import weighted_quantile
from pipeline.product_lines.lines import ProductLine

WEIGHTS = (1.0, AT_BORDER)
RATES = (0.01, 0.05)
RULES = ("all source lines", "strayed lines left out", "the line's own good test images")
NO_MAPS = np.zeros((1, 1, 1), np.float32)
Table = dict[str, list[list[float]]]
"""By line, for each column its metrics."""


class Seen(NamedTuple):
    """What calibration sees of a draw, and the scores of its defects."""

    scores: SourceScores
    defects: NDArray[np.float64]


def main() -> None:
    """Measure every line with either weight, then judge the thresholds of all."""
    parser = options(__doc__, draws=3)
    parser.add_argument("--peer", type=Path)
    study = Study(__file__, parser)
    seen_by = cached(study.settings)
    peer = json.loads(study.asked.peer.read_text()) if study.asked.peer else {"tool": "peer", "rows": []}
    found: Table = {}
    seen: dict[str, list[Seen]] = {}
    for line in study.lines:
        draws = [draw(line, seen_by, seed) for seed in study.draws]
        columns = []
        for weight in WEIGHTS:
            banks = [scored_bank(drawn, seen_by, at_border=weight) for drawn in draws]
            columns.append(mean(metrics(bank.figures) for bank in banks))
            seen[line.name] = [  # the last weight's, which is the product's
                Seen(
                    SourceScores(line.name, bank.leave_one_out, bank.scores[~drawn.truth.labels]),
                    bank.scores[drawn.truth.labels],
                )
                for bank, drawn in zip(banks, draws, strict=True)
            ]
        columns.append(
            mean(metrics(row) for row in peer["rows"] if row["line"] == line.name) or [math.nan] * len(METRICS)
        )
        found[line.name] = columns
    study.publish(metrics_table(found, str(peer["tool"])), thresholds_table(study.lines, seen))


def metrics_table(found: Table, peer: str) -> list[str]:
    """A line a row, the two weights and the peer."""
    rows = [[line, *map(percent, columns)] for line, columns in found.items()]
    means = [f"**{percent(mean(column))}**" for column in zip(*found.values(), strict=True)]
    return table(("line", "all cells alike", "faded towards the border", peer), [*rows, ["**mean**", *means]])


def thresholds_table(lines: Sequence[ProductLine], seen: Mapping[str, Sequence[Seen]]) -> list[str]:
    """A rule a row: shares over the lines, each calibrated on the lines of other data sets."""
    rows = []
    for rate in RATES:
        for rule in RULES:
            false, missed = [], []
            for line in lines:
                pooled = pool([own.scores for o in lines if o.data_set != line.data_set for own in seen[o.name]])
                limits = [threshold(rule, rate, own.scores, pooled) for own in seen[line.name]]
                judged = list(zip(seen[line.name], limits, strict=True))
                false.append(np.mean([(own.scores.good_query >= limit).mean() for own, limit in judged]))
                missed.append(np.mean([(own.defects < limit).mean() for own, limit in judged]))
            figures = (np.mean(false), np.median(false), np.max(false), np.mean(missed))
            rows.append([rule, f"{rate:.0%}", *(f"{100 * float(value):.1f}" for value in figures)])
    return table(("rule", "asked for", "false rejects", "median line", "worst line", "missed defects"), rows)


def threshold(rule: str, rate: float, seen: SourceScores, pooled: PooledCalibration) -> float:
    """The reject threshold of a line by one of RULES; the second is the product's."""
    if rule == RULES[0]:
        middle, spread = centre(seen.leave_one_out, pooled.spread)
        return middle + weighted_quantile(*lines_alike(list(pooled.deviations.values())), rate) * spread
    if rule == RULES[1]:
        return calibrate(seen.leave_one_out, NO_MAPS, target_false_reject_rate=rate, pooled=pooled).reject
    return float(np.quantile(seen.good_query, 1 - rate, method="higher"))


if __name__ == "__main__":
    main()
