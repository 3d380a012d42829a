"""How good a learner is on lines it has never seen: splits, one cell of the table, and its metrics.

Metrics are computed on query images that neither meta-training nor adaptation saw, at the backbone's input size. The
query set of a line is the same for every number of support defects, so that rows of one seed can be paired.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.calibration import Threshold
from pipeline.errors import ConfigError
from pipeline.learner import AnomalyHead, AnomalyOutput
from pipeline.metrics import aupro, f1_max, false_reject_rate, image_ap, image_auroc, missed_defect_rate, pixel_auroc
from pipeline.product_lines.layout_names import GOOD
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.support import read_defect_mask

Row = dict[str, Any]
"""One row of an evaluation table; see `evaluate_outputs`."""

_BATCH = 4


@dataclass(frozen=True)
class Fold:
    """Lines to meta-train on, and lines to test on; they share no data set."""

    name: str
    train: tuple[ProductLine, ...]
    test: tuple[ProductLine, ...]


def leave_one_data_set_out(lines: Sequence[ProductLine]) -> list[Fold]:
    """One fold per data set, tested on its lines and trained on all others.

    Raises:
        ConfigError: fewer than two data sets.
    """
    names = sorted({line.data_set for line in lines})
    if len(names) < 2:
        raise ConfigError(
            "lines of at least two data sets", f"{len(names)}", "add lines, or leave one line out instead"
        )
    return [
        Fold(
            name,
            tuple(line for line in lines if line.data_set != name),
            tuple(line for line in lines if line.data_set == name),
        )
        for name in names
    ]


def leave_one_line_out(lines: Sequence[ProductLine]) -> list[Fold]:
    """One fold per line, trained on all others, its own data set's among them: easier than a new data set.

    Raises:
        ConfigError: fewer than two lines.
    """
    if len(lines) < 2:
        raise ConfigError("at least two lines", f"{len(lines)}", "add lines to train on")
    return [Fold(line.name, tuple(other for other in lines if other is not line), (line,)) for line in lines]


@dataclass(frozen=True)
class Truth:
    """What is known of a line's query images: labels (Q,), and masks at the backbone's input size, None = unknown."""

    labels: NDArray[np.bool_]
    masks: list[NDArray[np.bool_] | None]


def read_truth(records: Sequence[ImageRecord], size: tuple[int, int]) -> Truth:
    """Labels and masks of the records; a good image's mask is empty.

    Masks are brought to `size` by nearest neighbour, as anomalib does it, so that figures compare.
    """
    masks: list[NDArray[np.bool_] | None] = []
    for record in records:
        if not record.is_defect:
            masks.append(np.zeros(size, np.bool_))
        elif (native := read_defect_mask(record)) is None:
            masks.append(None)
        else:
            resized = cv2.resize(native.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
            masks.append(resized.astype(np.bool_))
    return Truth(np.array([record.is_defect for record in records]), masks)


def evaluate_outputs(output: AnomalyOutput, truth: Truth, threshold: Threshold) -> Row:
    """Metrics of an adapted head on a query set.

    Args:
        output: of the query images.
        truth: labels and masks of the query.
        threshold: of the head.

    Returns:
        `ranking_figures`, and the false-reject and missed-defect rates at the threshold: all 0..1.
    """
    scores = output.image_score.double().numpy()
    rejected = np.array(
        [
            score >= threshold.reject and threshold.counts(anomaly_map)
            for score, anomaly_map in zip(scores, output.anomaly_map.numpy(), strict=True)
        ],
        np.float64,
    )
    return ranking_figures(output, truth) | {
        "false_reject_rate": false_reject_rate(rejected, truth.labels, 1.0),
        "missed_defect_rate": missed_defect_rate(rejected, truth.labels, 1.0),
    }


def ranking_figures(output: AnomalyOutput, truth: Truth) -> Row:
    """What needs no threshold: how a head ranks query images and their pixels.

    Returns:
        Image AUROC and AP, F1-max, pixel AUROC and AUPRO (0.3): all 0..1; pixel metrics are NaN on a line without
        masks.
    """
    scores = output.image_score.double().numpy()
    maps, masks = [], []
    for anomaly_map, mask in zip(output.anomaly_map.numpy(), truth.masks, strict=True):
        if mask is not None:
            maps.append(cv2.resize(anomaly_map, mask.shape[::-1], interpolation=cv2.INTER_LINEAR))
            masks.append(mask)
    has_masks = any(mask.any() for mask in masks)
    return {
        "image_auroc": image_auroc(scores, truth.labels),
        "image_ap": image_ap(scores, truth.labels),
        "pixel_auroc": pixel_auroc(maps, masks) if has_masks else float("nan"),
        "aupro": aupro(maps, masks, 0.3) if has_masks else float("nan"),
        "f1_max": f1_max(scores, truth.labels)[0],
    }


def seen_and_unseen(scores: NDArray[np.float64], kinds: Sequence[str], support_kinds: Collection[str]) -> Row:
    """Image AUROC of the good query images against the defective ones, by whether the support shows their kind.

    Args:
        scores: (Q,) image scores of the query.
        kinds: (Q) "good" or the name of the defect (in the MVTec AD layout the folder below test/).
        support_kinds: the kinds of the support's defective images.

    Returns:
        image_auroc_seen and image_auroc_unseen, 0..1; nan where the query has no such defect, and both without a
        defective support image.
    """
    good = np.array([kind == GOOD for kind in kinds], np.bool_)
    seen = np.array([kind in support_kinds for kind in kinds], np.bool_)

    def against(defects: NDArray[np.bool_]) -> float:
        kept = good | (defects & ~good)
        return image_auroc(scores[kept], ~good[kept]) if support_kinds else float("nan")

    return {"image_auroc_seen": against(seen), "image_auroc_unseen": against(~seen)}


@torch.no_grad()
def score_levels(head: AnomalyHead, levels: tuple[torch.Tensor, ...]) -> AnomalyOutput:
    """A head's output for many images, a few at a time."""
    parts = [head(*(level[i : i + _BATCH] for level in levels)) for i in range(0, len(levels[0]), _BATCH)]
    if not parts:
        H, W = levels[0].shape[-2:]
        return AnomalyOutput(torch.zeros(0), torch.zeros(0, H, W), torch.zeros(0, 1, 1, dtype=torch.int64))
    return AnomalyOutput(*(torch.cat(column) for column in zip(*parts, strict=True)))
