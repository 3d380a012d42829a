"""Where a histogram's bars, ticks and threshold lines stand, in per cent of the plot: the template only draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Decision, Threshold

_BINS = 60
_SMALLEST_BAR = 1.5  # per cent of the height: a single reject among ten thousand passes stays visible


@dataclass(frozen=True)
class Bar:
    """One decision's scores in one bin: place and size in per cent (y grows downwards), and what a reader is told."""

    x: float
    y: float
    width: float
    height: float
    decision: Decision
    label: str


@dataclass(frozen=True)
class Mark:
    """A tick or a line: its place in per cent, and its label."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The score axis that the histogram and every image's bar share."""

    low: float
    high: float

    def place(self, score: float) -> float:
        """A score's place on the axis, 0..100; beyond the ends it stands at the end."""
        return round(100 * min(max((score - self.low) / (self.high - self.low), 0.0), 1.0), 2)


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Everything the template draws.

    `counts` is of the scores by decision; `overflow` counts those above the axis, which stand in the last bin.
    """

    axis: Axis
    counts: Mapping[Decision, int]
    bars: tuple[Bar, ...]
    score_ticks: tuple[Mark, ...]
    count_ticks: tuple[Mark, ...]
    reject: Mark
    review: Mark | None
    overflow: int


def score_axis(scores: NDArray[np.float64], threshold: Threshold) -> Axis:
    """An axis that shows the bulk of the scores and both thresholds; far outliers do not flatten the rest."""
    shown = [threshold.review, threshold.reject, *([scores.min(), scores.max()] if scores.size else [])]
    low, high = float(min(shown)), float(max(shown))
    span = max(threshold.reject - low, abs(threshold.reject) * 0.05, 1e-9)
    high = min(high, threshold.reject + 3 * span)  # the rest overflows into the last bin
    low = max(low, threshold.reject - 3 * max(high - threshold.reject, span))
    margin = 0.04 * max(high - low, span)
    return Axis(low=low - margin, high=high + margin)


def histogram(scores_by_decision: Mapping[Decision, NDArray[np.float64]], threshold: Threshold) -> Histogram:
    """The histogram of image scores, stacked by what was decided on them, one bin edge exactly at the reject threshold.

    Args:
        scores_by_decision: finite scores (N,) of each decision; one that is not named has none.
        threshold: where the lines stand. It decides nothing here.

    Raises:
        ValueError: a score is not finite.
    """
    parts = {decision: scores_by_decision.get(decision, np.zeros(0)) for decision in Decision}
    scores = np.concatenate(list(parts.values()))
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(f"expected finite scores of shape (N,), got {scores.dtype} {scores.shape}")
    axis = score_axis(scores, threshold)
    step = (axis.high - axis.low) / _BINS
    below = math.ceil((threshold.reject - axis.low) / step)
    above = math.ceil((axis.high - threshold.reject) / step)
    edges = threshold.reject + step * np.arange(-below, above + 1)
    axis = Axis(low=float(edges[0]), high=float(edges[-1]))

    def binned(scores: NDArray[np.float64]) -> NDArray[np.intp]:
        bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, below + above - 1)
        # The edge is recomputed in floating point; a score at the threshold must stay on its side of the line.
        bins = np.where(scores >= threshold.reject, np.maximum(bins, below), np.minimum(bins, below - 1))
        return np.bincount(bins, minlength=below + above)

    counts = {decision: binned(part) for decision, part in parts.items()}
    tallest = max(int(np.sum(list(counts.values()), axis=0).max()), 1)
    ticks = _round_ticks(0, tallest, 4, whole=True)
    top = max(ticks[-1], tallest)
    return Histogram(
        axis=axis,
        counts={decision: len(part) for decision, part in parts.items()},
        bars=_bars(counts, edges, axis, top),
        score_ticks=tuple(Mark(axis.place(tick), f"{tick:.6g}") for tick in _round_ticks(axis.low, axis.high, 6)),
        count_ticks=tuple(Mark(round(100 - 100 * tick / top, 2), f"{tick:,.0f}") for tick in ticks),
        reject=Mark(axis.place(threshold.reject), f"REJECT ≥ {threshold.reject:.4g}"),
        review=Mark(axis.place(threshold.review), f"REVIEW ≥ {threshold.review:.4g}")
        if threshold.review < threshold.reject
        else None,
        overflow=int((scores > axis.high).sum()),
    )


def _bars(
    counts: dict[Decision, NDArray[np.intp]], edges: NDArray[np.floating], axis: Axis, top: float
) -> tuple[Bar, ...]:
    bars: list[Bar] = []
    for index in range(len(edges) - 1):
        left, right = axis.place(float(edges[index])), axis.place(float(edges[index + 1]))
        base = 100.0
        for decision, by_bin in counts.items():
            if not (count := int(by_bin[index])):
                continue
            height = round(max(100 * count / top, _SMALLEST_BAR), 2)
            base = round(base - height, 2)
            images = "1 image" if count == 1 else f"{count:,} images"
            label = f"{decision}: {images} from {edges[index]:.4g} to {edges[index + 1]:.4g}"
            bars.append(Bar(left, base, round(right - left, 2), height, decision, label))
    return tuple(bars)


def _round_ticks(low: float, high: float, about: int, *, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten inside low..high, about so many."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    if whole:
        step = max(step, 1)
    return [tick * step for tick in range(math.ceil(low / step), math.floor(high / step) + 1)]
