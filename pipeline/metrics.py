"""How well scores and maps separate defects from good parts: pure functions on numpy arrays, validate then compute.

A part or pixel is called defective when its score is at or above the threshold, here and everywhere in Linewise.

A metric that its data leave undefined is `nan`, never an error and never a guess: ranking metrics (AUROC, AP, F1) with
one class only; pixel metrics without a defective or without a normal pixel; a rate whose class is empty. Average over
lines with `numpy.nanmean`. What is wrong, not merely absent (shapes that differ, nan or inf among the scores, labels
other than 0 and 1), is a `ValueError` that says "expected ..., got ...".

Shape letters: N images, H x W pixels (may differ from image to image), R defect regions, D data sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

AnomalyMaps = Sequence[NDArray[np.floating]] | NDArray[np.floating]
"""One (H, W) map an image: a sequence, or an array (N, H, W)."""

Masks = Sequence[NDArray[np.bool_] | None] | NDArray[np.bool_]
"""One (H, W) bool mask an image, True = defect; all False for a good image, None where the truth is not known."""


class Interval(NamedTuple):
    """A mean and its bootstrap confidence interval, in the units of what was given."""

    mean: float
    low: float
    high: float


def image_auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve of image scores.

    Args:
        scores: (N,) higher is more anomalous.
        labels: (N,) bool or 0/1, True = defective.

    Returns:
        0..1, ties count half; nan with one class only.

    Raises:
        ValueError: shapes differ, a score is not finite, or a label is not 0 or 1.
    """
    values, truth = _check_scores(scores, labels)
    return float(roc_auc_score(truth, values)) if _has_both(truth) else math.nan


def image_ap(scores: ArrayLike, labels: ArrayLike) -> float:
    """Average precision (area under the precision-recall curve, step-wise) of image scores, defects as positives.

    Takes, returns and raises what `image_auroc` does.
    """
    values, truth = _check_scores(scores, labels)
    return float(average_precision_score(truth, values)) if _has_both(truth) else math.nan


def f1_max(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """The best F1 over all thresholds, and the threshold that gives it: an upper bound, since it looks at the labels.

    Takes and raises what `image_auroc` does.

    Returns:
        (f1 in 0..1, threshold: the highest score that attains it); (nan, nan) with one class only.
    """
    values, truth = _check_scores(scores, labels)
    if not _has_both(truth):
        return math.nan, math.nan
    order = np.argsort(-values)
    thresholds, hits = values[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.append(np.diff(thresholds) != 0, True))  # a tie is passed as a whole
    f1 = 2 * hits[last] / (last + 1 + truth.sum())  # one division of whole numbers: equal F1 compare equal
    best = int(np.argmax(f1))
    return float(f1[best]), float(thresholds[last[best]])


def false_reject_rate(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of the good parts whose score is at or above the threshold, 0..1; nan without a good part.

    Raises:
        ValueError: as in `image_auroc`, or the threshold is nan.
    """
    values, truth = _check_scores(scores, labels)
    _check_threshold(threshold)
    return float(np.mean(values[~truth] >= threshold)) if not truth.all() else math.nan


def missed_defect_rate(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of the defective parts whose score is below the threshold, 0..1; nan without a defective part.

    Raises:
        ValueError: as in `image_auroc`, or the threshold is nan.
    """
    values, truth = _check_scores(scores, labels)
    _check_threshold(threshold)
    return float(np.mean(values[truth] < threshold)) if truth.any() else math.nan


def pixel_auroc(maps: AnomalyMaps, masks: Masks) -> float:
    """Area under the ROC curve of all pixels of all images together.

    Exact, by counting for each defective pixel the normal ones below it (ties half) in one sorted copy of the normal
    pixels: the same figure as scikit-learn's without its sort of every pixel and label.

    Args:
        maps: (H, W) float maps, higher is more anomalous.
        masks: (H, W) bool, True = defect; a map whose mask is None is left out.

    Returns:
        0..1; nan without a defective or without a normal pixel.

    Raises:
        ValueError: counts or shapes differ, a mask is not bool, or a map is not finite.
    """
    normal, defective, _ = _split_pixels(maps, masks, by_region=False)
    if normal.size == 0 or defective.size == 0:
        return math.nan
    below = np.searchsorted(normal, defective, side="left")
    not_above = np.searchsorted(normal, defective, side="right")
    return float((np.mean(below) + np.mean(not_above)) / 2 / normal.size)


def aupro(maps: AnomalyMaps, masks: Masks, max_fpr: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate (Bergmann et al. 2020), normalised.

    Per-region overlap at a threshold: the share of a defect region's pixels at or above it, averaged over all R
    8-connected regions of all images. False-positive rate: the share of all normal pixels at or above it. The curve
    runs from (0, 0) through every distinct threshold, straight between neighbours and cut at `max_fpr`.

    Exact over all distinct thresholds, without walking them: a region pixel of score s and weight w = 1/(R * region
    size) lifts the curve by w while the threshold passes s, that is between the false-positive rates a = P(normal > s)
    and b = P(normal >= s). Its share of the area is so w * (max_fpr - (a + b) / 2), cut at `max_fpr`; the sum over
    region pixels is the integral. Cost: one sort of the normal pixels; memory: two copies of the maps.

    Args:
        maps: (H, W) float maps, higher is more anomalous.
        masks: (H, W) bool, True = defect; a map whose mask is None is left out.
        max_fpr: 0 < max_fpr <= 1.

    Returns:
        0..1; nan without a defect region or without a normal pixel.

    Raises:
        ValueError: as in `pixel_auroc`, or `max_fpr` is out of range.
    """
    if not 0 < max_fpr <= 1:
        raise ValueError(f"expected max_fpr in (0, 1], got {max_fpr}")
    normal, defective, weights = _split_pixels(maps, masks, by_region=True)
    if normal.size == 0 or defective.size == 0:
        return math.nan
    start = 1 - np.searchsorted(normal, defective, side="right") / normal.size
    stop = 1 - np.searchsorted(normal, defective, side="left") / normal.size
    ramp = np.minimum(stop, max_fpr) - start  # where the pixel is still being passed, as far as it counts
    width = np.where(stop > start, stop - start, 1.0)
    area = np.where(ramp > 0, ramp * ramp / (2 * width), 0.0) + np.maximum(max_fpr - stop, 0.0)
    return float(np.clip(np.dot(weights, area) / weights.sum() / max_fpr, 0.0, 1.0))


def paired_bootstrap(differences: ArrayLike, seed: int, n: int = 10_000, confidence: float = 0.95) -> Interval:
    """Mean of paired differences with a percentile bootstrap interval, resampling data sets.

    Lines of one data set are relatives, so average inside each data set first and give one difference for each.

    Args:
        differences: (D,) learner minus baseline, one for each data set.
        seed: equal seeds give equal intervals.
        n: resamples.
        confidence: of the interval, 0..1 exclusive.

    Returns:
        The mean and the interval; its ends are nan with fewer than two data sets, all three are nan with none.

    Raises:
        ValueError: not one-dimensional, not finite, or `n` or `confidence` out of range.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"expected differences of shape (D,), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"expected finite differences, got {int((~np.isfinite(values)).sum())} that are not")
    if n < 1 or not 0 < confidence < 1:
        raise ValueError(f"expected n >= 1 and 0 < confidence < 1, got n={n} and confidence={confidence}")
    if values.size < 2:
        return Interval(float(values[0]) if values.size else math.nan, math.nan, math.nan)
    picks = np.random.default_rng(seed).integers(values.size, size=(n, values.size))
    low, high = np.quantile(values[picks].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def _check_scores(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, raw = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != raw.shape:
        raise ValueError(f"expected scores and labels of one shape (N,), got {values.shape} and {raw.shape}")
    if values.size == 0:
        raise ValueError("expected at least one score, got none")
    if not np.isfinite(values).all():
        raise ValueError(
            f"expected finite scores, got {int((~np.isfinite(values)).sum())} of {values.size} that are not"
        )
    if raw.dtype != np.bool_ and not np.isin(raw, (0, 1)).all():
        raise ValueError(f"expected labels of 0 and 1, got {np.unique(raw)[:5].tolist()}")
    return values, raw.astype(np.bool_)


def _check_threshold(threshold: float) -> None:
    if math.isnan(threshold):
        raise ValueError("expected a threshold, got nan")


def _has_both(truth: NDArray[np.bool_]) -> bool:
    return bool(truth.any() and not truth.all())


def _split_pixels(
    maps: AnomalyMaps, masks: Masks, *, by_region: bool
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.float64]]:
    """Sorted normal pixels, sorted defective pixels, and each defective pixel's weight (1 / region size, or 1)."""
    if len(maps) != len(masks):
        raise ValueError(f"expected as many masks as maps, got {len(masks)} and {len(maps)}")
    normal: list[NDArray[np.floating]] = []
    defective: list[NDArray[np.floating]] = []
    weights: list[NDArray[np.float64]] = []
    for index, (values, mask) in enumerate(zip(maps, masks, strict=True)):
        if mask is None:
            continue
        _check_map(index, values, mask)
        normal.append(values[~mask])
        if not mask.any():
            continue
        defective.append(values[mask])
        if by_region:
            _, regions = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
            inside = np.asarray(regions, dtype=np.intp)[mask]
            weights.append(1.0 / np.bincount(inside)[inside])
        else:
            weights.append(np.ones(defective[-1].size))
    if not defective:
        return np.sort(np.concatenate(normal)) if normal else np.empty(0), np.empty(0), np.empty(0)
    joined, order_weights = np.concatenate(defective), np.concatenate(weights)
    order = np.argsort(joined)
    background = np.concatenate(normal)
    background.sort()  # in place: there may be millions
    return background, joined[order], order_weights[order]


def _check_map(index: int, values: NDArray[np.floating], mask: NDArray[np.bool_]) -> None:
    if values.ndim != 2 or values.shape != mask.shape:
        raise ValueError(f"expected map and mask {index} of one shape (H, W), got {values.shape} and {mask.shape}")
    if mask.dtype != np.bool_:
        raise ValueError(f"expected a bool mask, got {mask.dtype} for mask {index}")
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"expected a float map, got {values.dtype} for map {index}")
    if not np.isfinite(values).all():
        raise ValueError(f"expected finite maps, got nan or inf in map {index}")
