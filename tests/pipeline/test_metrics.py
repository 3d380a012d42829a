"""Metrics against scikit-learn, against a slow AUPRO written by another route, and against figures found by hand."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from pipeline import metrics


def brute_force_aupro(maps: list[NDArray], masks: list[NDArray[np.bool_]], max_fpr: float) -> float:
    """AUPRO as the paper words it: threshold by threshold, region by region, then the trapezoid rule."""
    regions: list[tuple[int, NDArray[np.bool_]]] = []
    for image, mask in enumerate(masks):
        labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(image, labelled == number) for number in range(1, count + 1)]
    thresholds = sorted({float(value) for values in maps for value in values.ravel()}, reverse=True)
    normal_pixels = sum(int((~mask).sum()) for mask in masks)
    xs, ys = [0.0], [0.0]
    for threshold in thresholds:
        hits = [values >= threshold for values in maps]
        xs.append(sum(int((hit & ~mask).sum()) for hit, mask in zip(hits, masks, strict=True)) / normal_pixels)
        ys.append(float(np.mean([(hits[image] & region).sum() / region.sum() for image, region in regions])))
    area = 0.0
    for x0, x1, y0, y1 in zip(xs[:-1], xs[1:], ys[:-1], ys[1:], strict=True):
        if x0 >= max_fpr:
            break
        if x1 > max_fpr:
            cut = y0 + (y1 - y0) * (max_fpr - x0) / (x1 - x0)
            area += (max_fpr - x0) * (y0 + cut) / 2
        else:
            area += (x1 - x0) * (y0 + y1) / 2
    return area / max_fpr


@st.composite
def maps_and_masks(draw: st.DrawFn) -> tuple[list[NDArray], list[NDArray[np.bool_]]]:
    """Small maps, often with many ties, sizes mixed, at least one defective and one normal pixel."""
    maps, masks = [], []
    few_values = st.integers(0, draw(st.integers(1, 6))).map(float)
    any_value = st.floats(-4, 4, allow_nan=False, width=32)
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
        maps.append(draw(hnp.arrays(np.float32, shape, elements=draw(st.sampled_from([few_values, any_value])))))
        masks.append(draw(hnp.arrays(np.bool_, shape)))
    maps.append(np.array([[0.5, 2.0]], dtype=np.float32))
    masks.append(np.array([[False, True]]))
    return maps, masks


@settings(max_examples=200, deadline=None)
@given(maps_and_masks(), st.sampled_from([0.05, 0.3, 0.5, 1.0]))
def test_aupro_equals_the_threshold_by_threshold_definition(case, max_fpr):
    maps, masks = case
    assert metrics.aupro(maps, masks, max_fpr) == pytest.approx(brute_force_aupro(maps, masks, max_fpr), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(maps_and_masks())
def test_pixel_auroc_equals_scikit_learn(case):
    maps, masks = case
    expected = roc_auc_score(np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in maps]))
    assert metrics.pixel_auroc(maps, masks) == pytest.approx(expected, abs=1e-12)


def test_aupro_by_hand():
    # Two regions of one and of four pixels; ten normal pixels, two of them (20 %) above the big region's lower half.
    #   threshold 5: small region whole (overlaps 1, 0)   -> FPR 0.0, PRO 0.5
    #   threshold 4: half of the big one                  -> FPR 0.0, PRO 0.75
    #   threshold 3: two normal pixels                    -> FPR 0.2, PRO 0.75
    #   threshold 2: the rest of the big one              -> FPR 0.2, PRO 1.0
    #   threshold 1: all                                  -> FPR 1.0, PRO 1.0
    values = np.array([[5, 1, 4, 2, 3], [1, 1, 4, 2, 3], [1, 1, 1, 1, 1]], dtype=np.float32)
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], dtype=bool)
    assert (~mask).sum() == 10
    assert metrics.aupro([values], [mask], 0.3) == pytest.approx((0.2 * 0.75 + 0.1 * 1.0) / 0.3)
    assert metrics.aupro([values], [mask], 0.2) == pytest.approx(0.75)
    assert metrics.aupro([values], [mask], 1.0) == pytest.approx(0.2 * 0.75 + 0.8)


def test_aupro_cuts_a_tie_between_normal_and_defective_pixels_on_its_slope():
    values, mask = np.zeros((1, 4), dtype=np.float32), np.array([[True, False, False, False]])
    assert metrics.aupro([values], [mask], 0.3) == pytest.approx(0.15)  # one straight line from (0, 0) to (1, 1)


def test_aupro_joins_diagonal_neighbours_to_one_region():
    # As one region of three pixels two thirds are found, as two regions (1 and 2 pixels) half would be.
    mask = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)
    values = np.array([[0, 1, 1], [1, 2, 2], [1, 1, 1]], dtype=np.float32)
    assert metrics.aupro([values], [mask]) == pytest.approx(2 / 3)


def test_aupro_weighs_regions_not_pixels():
    mask = np.zeros((20, 20), dtype=bool)
    mask[:10, :10] = True
    mask[15, 15] = True
    values = np.ones_like(mask, dtype=np.float32)
    values[:10, :10] = 2.0
    values[15, 15] = 0.0
    assert metrics.aupro([values], [mask]) == pytest.approx(0.5)


@pytest.mark.parametrize("shift", [0.0, 1e6, -50.0])
def test_pixel_metrics_do_not_depend_on_monotone_rescaling(shift):
    rng = np.random.default_rng(0)
    maps = list(rng.integers(0, 64, size=(4, 16, 16)).astype(np.float64))
    masks = list(rng.random((4, 16, 16)) > 0.9)
    assert metrics.aupro([3 * m + shift for m in maps], masks) == pytest.approx(metrics.aupro(maps, masks))
    assert metrics.pixel_auroc([3 * m + shift for m in maps], masks) == pytest.approx(metrics.pixel_auroc(maps, masks))


def test_pixel_metrics_leave_out_maps_of_unknown_truth_and_take_arrays_and_views():
    rng = np.random.default_rng(1)
    maps = rng.random((4, 12, 12)).astype(np.float32)
    masks = rng.random((4, 12, 12)) > 0.8
    mixed = [masks[0], None, masks[2], None]
    for metric in (metrics.aupro, metrics.pixel_auroc):
        assert metric(maps, mixed) == pytest.approx(metric(maps[::2], masks[::2]))
        transposed = metric(maps.transpose(0, 2, 1), masks.transpose(0, 2, 1))
        assert transposed == pytest.approx(metric(list(maps), list(masks)))


def test_pixel_metrics_are_nan_where_undefined():
    values, none, full = np.ones((3, 3), dtype=np.float32), np.zeros((3, 3), dtype=bool), np.ones((3, 3), dtype=bool)
    for metric in (metrics.aupro, metrics.pixel_auroc):
        assert math.isnan(metric([values], [none]))
        assert math.isnan(metric([values], [full]))
        assert math.isnan(metric([values, values], [None, None]))
        assert math.isnan(metric([], []))


def test_aupro_of_a_hundred_maps_costs_few_sorts_of_their_pixels_in_bounded_memory():
    rng = np.random.default_rng(2)
    maps = rng.random((100, 256, 256), dtype=np.float32)
    masks = np.zeros(maps.shape, dtype=bool)
    masks[::2, 40:90, 60:140] = True
    masks[::4, 150:160, 10:30] = True

    def cpu_seconds(work: Callable[[], object]) -> float:  # of this thread alone, whatever else the machine does
        started = time.thread_time()
        work()
        return time.thread_time() - started

    # It takes one or two, walking the thresholds would take thousands: twenty hold on any machine.
    assert cpu_seconds(lambda: metrics.aupro(maps, masks)) < 20 * cpu_seconds(lambda: np.sort(maps, axis=None))
    tracemalloc.start()
    metrics.aupro(maps, masks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * maps.nbytes


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_image_metrics_equal_scikit_learn_and_brute_force(pairs):
    scores = np.array([score for score, _ in pairs], dtype=np.float64)
    labels = np.array([label for _, label in pairs])
    f1, threshold = metrics.f1_max(scores, labels)
    if labels.all() or not labels.any():
        assert math.isnan(metrics.image_auroc(scores, labels))
        assert math.isnan(metrics.image_ap(scores, labels))
        assert math.isnan(f1)
        assert math.isnan(threshold)
        return
    assert metrics.image_auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    assert metrics.image_ap(scores, labels) == pytest.approx(average_precision_score(labels, scores))
    assert f1 == pytest.approx(f1_score(labels, scores >= threshold))
    by_threshold = {t: _f1_of(scores >= t, labels) for t in np.unique(scores)}
    assert f1 == pytest.approx(float(max(by_threshold.values())))
    assert threshold == max(t for t, value in by_threshold.items() if value == max(by_threshold.values()))


def _f1_of(flagged: NDArray[np.bool_], labels: NDArray[np.bool_]) -> Fraction:
    hits, wrong = int((flagged & labels).sum()), int((flagged ^ labels).sum())
    return Fraction(2 * hits, 2 * hits + wrong)


def test_rates_count_a_score_at_the_threshold_as_rejected():
    scores, labels = [0.1, 0.5, 0.9, 0.5, 0.2], [0, 0, 0, 1, 1]
    assert metrics.false_reject_rate(scores, labels, 0.5) == pytest.approx(2 / 3)
    assert metrics.missed_defect_rate(scores, labels, 0.5) == pytest.approx(1 / 2)
    assert metrics.false_reject_rate(scores, labels, math.inf) == 0.0
    assert metrics.missed_defect_rate(scores, labels, math.inf) == 1.0
    assert math.isnan(metrics.false_reject_rate([0.5], [1], 0.5))
    assert math.isnan(metrics.missed_defect_rate([0.5], [0], 0.5))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([1.0, 2.0], [0], r"expected scores and labels of one shape \(N,\), got \(2,\) and \(1,\)"),
        ([[1.0]], [[0]], r"expected scores and labels of one shape \(N,\), got \(1, 1\) and \(1, 1\)"),
        ([], [], "expected at least one score, got none"),
        ([1.0, math.nan], [0, 1], "expected finite scores, got 1 of 2 that are not"),
        ([1.0, math.inf], [0, 1], "expected finite scores, got 1 of 2 that are not"),
        ([1.0, 2.0], [0, 2], r"expected labels of 0 and 1, got \[0, 2\]"),
    ],
)
def test_image_metrics_refuse(scores, labels, message):
    for metric in (metrics.image_auroc, metrics.image_ap, metrics.f1_max):
        with pytest.raises(ValueError, match=message):
            metric(scores, labels)
    for rate in (metrics.false_reject_rate, metrics.missed_defect_rate):
        with pytest.raises(ValueError, match=message):
            rate(scores, labels, 0.5)
        with pytest.raises(ValueError, match="expected a threshold, got nan"):
            rate([1.0, 2.0], [0, 1], math.nan)


def test_pixel_metrics_refuse():
    values, mask = np.zeros((2, 3), dtype=np.float32), np.zeros((2, 3), dtype=bool)
    for metric in (metrics.aupro, metrics.pixel_auroc):
        with pytest.raises(ValueError, match="expected as many masks as maps, got 1 and 2"):
            metric([values, values], [mask])
        with pytest.raises(ValueError, match=r"map and mask 0 of one shape \(H, W\), got \(2, 3\) and \(3, 2\)"):
            metric([values], [mask.T])
        with pytest.raises(ValueError, match="expected a bool mask, got uint8 for mask 1"):
            metric([values, values], [mask, mask.astype(np.uint8)])
        with pytest.raises(ValueError, match="expected a float map, got uint8 for map 0"):
            metric([values.astype(np.uint8)], [mask])
        with pytest.raises(ValueError, match="expected finite maps, got nan or inf in map 0"):
            metric([values + np.nan], [mask])
    for max_fpr in (0.0, 1.1, -0.3):
        with pytest.raises(ValueError, match="expected max_fpr in"):
            metrics.aupro([values], [mask], max_fpr)


def test_paired_bootstrap_by_hand_and_by_seed():
    constant = metrics.paired_bootstrap([0.02] * 5, seed=0)
    assert constant == pytest.approx((0.02, 0.02, 0.02))
    # Two data sets 0 and 1: resampled means are 0, 1/2, 1 with chances 1/4, 1/2, 1/4, so 95 % spans all of them.
    assert metrics.paired_bootstrap([0.0, 1.0], seed=0) == (0.5, 0.0, 1.0)
    assert metrics.paired_bootstrap([0.0, 1.0], seed=0, confidence=0.4) == (0.5, 0.5, 0.5)
    spread = np.random.default_rng(0).normal(0.01, 0.02, size=12)
    first = metrics.paired_bootstrap(spread, seed=3)
    assert first == metrics.paired_bootstrap(spread, seed=3)
    assert first != metrics.paired_bootstrap(spread, seed=4)
    assert first.low < first.mean < first.high
    assert first.mean == pytest.approx(spread.mean())


def test_paired_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    intervals = [metrics.paired_bootstrap(rng.normal(0.3, 1.0, size=25), seed=i, n=400) for i in range(300)]
    covered = np.mean([interval.low <= 0.3 <= interval.high for interval in intervals])
    assert 0.88 <= covered <= 0.98  # percentile intervals are a little narrow at D = 25


def test_paired_bootstrap_says_what_it_cannot_know():
    single = metrics.paired_bootstrap([0.1], seed=0)
    assert single.mean == pytest.approx(0.1)
    assert math.isnan(single.low)
    assert math.isnan(single.high)
    assert all(math.isnan(value) for value in metrics.paired_bootstrap([], seed=0))
    with pytest.raises(ValueError, match="expected finite differences, got 1 that are not"):
        metrics.paired_bootstrap([0.1, math.nan], seed=0)
    with pytest.raises(ValueError, match=r"expected differences of shape \(D,\), got \(1, 2\)"):
        metrics.paired_bootstrap([[0.1, 0.2]], seed=0)
    with pytest.raises(ValueError, match="expected n >= 1 and 0 < confidence < 1"):
        metrics.paired_bootstrap([0.1, 0.2], seed=0, confidence=1.0)


@pytest.mark.parametrize("seed", range(5))
def test_image_figures_agree_with_torchmetrics(seed: int):
    """A second opinion from a library that shares no code with scikit-learn, ties included."""
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 40, 200) / 40, rng.random(200) < 0.3
    pair = torch.from_numpy(scores), torch.from_numpy(labels).long()
    assert metrics.image_auroc(scores, labels) == pytest.approx(float(functional.binary_auroc(*pair)), abs=1e-6)
    assert metrics.image_ap(scores, labels) == pytest.approx(
        float(functional.binary_average_precision(*pair)), abs=1e-6
    )
