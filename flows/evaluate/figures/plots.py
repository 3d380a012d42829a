"""Where an evaluation's dots and bars stand, in per cent across and pixels down: the template only draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flows.evaluate.figures.evaluation_rows import Metric, Setting
from flows.evaluate.figures.summary import Evaluation

ROW = 11  # pixels a learner takes
LABEL = 20  # pixels a label above its rows takes
GAP = 8
AXIS = 24
COLOURS = 8  # classes c0..c7 of evaluation.css


@dataclass(frozen=True)
class Tick:
    """A place on the axis, 0..100, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A mean with its range: places across in per cent, height in pixels, colour class, and what a reader is told."""

    at: float
    low: float
    high: float
    y: float
    colour: str
    label: str
    small: tuple[float, ...] = ()
    open: bool = False


@dataclass(frozen=True)
class Band:
    """One labelled group of rows."""

    label: str
    y: float
    height: float
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Plot:
    """A plot ready to draw."""

    title: str
    bands: tuple[Band, ...]
    ticks: tuple[Tick, ...]
    height: float
    zero: float | None = None


def colour_of(evaluation: Evaluation, learner: str) -> str:
    """A learner's colour class, the same in every plot."""
    return f"c{evaluation.learners.index(learner) % COLOURS}"


def lines_plot(evaluation: Evaluation, metric: Metric, setting: Setting) -> Plot | None:
    """Each line's mean by learner, with the range over seeds; None when no line has the metric."""
    spreads = {
        (line, learner): evaluation.line(metric.key, learner, setting, line)
        for line in evaluation.lines
        for learner in evaluation.learners
    }
    spreads = {key: spread for key, spread in spreads.items() if spread.seeds}
    if not spreads:
        return None
    low, high = _range([value for spread in spreads.values() for value in (spread.low, spread.high)], metric)
    bands: list[Band] = []
    y = 0.0
    for line in evaluation.lines:
        found = [learner for learner in evaluation.learners if (line, learner) in spreads]
        if not found:
            continue
        dots = []
        for index, learner in enumerate(found):
            spread = spreads[line, learner]
            told = f"{learner} on {line}: {_told(spread.mean, metric)}"
            if spread.seeds > 1:
                told += f", {_told(spread.low, metric)} to {_told(spread.high, metric)} over {spread.seeds} seeds"
            at, start, end = (_place(value, low, high) for value in (spread.mean, spread.low, spread.high))
            dots.append(Dot(at, start, end, y + LABEL + ROW * (index + 0.5), colour_of(evaluation, learner), told))
        height = LABEL + ROW * len(found) + GAP
        bands.append(Band(line, y, height, tuple(dots)))
        y += height
    return Plot(f"{metric.label}, {setting.label}", tuple(bands), _ticks(low, high, metric), y + AXIS)


def settings_plot(evaluation: Evaluation, metric: Metric) -> Plot | None:
    """Each setting's mean over data sets by learner, with one deviation over seeds; None with fewer than two."""
    overall = {
        (setting, learner): evaluation.overall(metric.key, learner, setting)
        for setting in evaluation.settings
        for learner in evaluation.learners
    }
    overall = {key: figures for key, figures in overall.items() if figures.lines}
    if len({setting for setting, _ in overall}) < 2:
        return None
    reach = {key: 0.0 if math.isnan(figures.deviation) else figures.deviation for key, figures in overall.items()}
    ends = [figures.mean + side * reach[key] for key, figures in overall.items() for side in (-1, 1)]
    low, high = _range(ends, metric)
    bands: list[Band] = []
    y = 0.0
    for setting in evaluation.settings:
        found = [learner for learner in evaluation.learners if (setting, learner) in overall]
        dots = []
        for index, learner in enumerate(found):
            figures, half = overall[setting, learner], reach[setting, learner]
            at, start, end = (_place(figures.mean + side * half, low, high) for side in (0, -1, 1))
            told = f"{learner}, {setting.label}: {_told(figures.mean, metric)} ± {_told(half, metric)}"
            dots.append(Dot(at, start, end, y + LABEL + ROW * (index + 0.5), colour_of(evaluation, learner), told))
        height = LABEL + ROW * len(found) + GAP
        bands.append(Band(setting.label, y, height, tuple(dots)))
        y += height
    return Plot(f"{metric.label}, mean over data sets", tuple(bands), _ticks(low, high, metric), y + AXIS)


def differences_plot(evaluation: Evaluation, metric: Metric, setting: Setting) -> Plot | None:
    """Each learner's paired difference to the baseline with its interval, and the lines' differences as small dots."""
    others = [learner for learner in evaluation.learners if learner != evaluation.baseline]
    paired = {learner: evaluation.paired(metric.key, learner, setting) for learner in others}
    paired = {learner: pair for learner, pair in paired.items() if pair.by_line}
    if not paired:
        return None
    values = [0.0]
    for pair in paired.values():
        values += [*pair.by_line.values(), *(end for end in pair.interval if not math.isnan(end))]
    low, high = _range(values, metric, bounded=False)
    bands: list[Band] = []
    y = 0.0
    for learner, pair in paired.items():
        mean, start, end = pair.interval
        known = not math.isnan(start)
        told = f"{learner}: {_told(mean, metric, signed=True)}"
        told += (
            f", 95 % interval {_told(start, metric, signed=True)} to {_told(end, metric, signed=True)}"
            if known
            else ", no interval from one data set"
        )
        dot = Dot(
            _place(mean, low, high),
            _place(start if known else mean, low, high),
            _place(end if known else mean, low, high),
            y + LABEL + ROW,
            colour_of(evaluation, learner),
            told,
            tuple(_place(value, low, high) for value in pair.by_line.values()),
            open=not known,
        )
        bands.append(Band(learner, y, LABEL + 2 * ROW + GAP, (dot,)))
        y += bands[-1].height
    ticks = _ticks(low, high, metric, signed=True)
    return Plot(
        f"{metric.label}, {setting.label}: difference to {evaluation.baseline}",
        tuple(bands),
        ticks,
        y + AXIS,
        zero=_place(0.0, low, high),
    )


def _range(values: Sequence[float], metric: Metric, *, bounded: bool = True) -> tuple[float, float]:
    """An axis a little wider than the values; a share's never leaves 0..1."""
    low, high = min(values), max(values)
    margin = max(0.06 * (high - low), 0.004 if metric.unit == "share" else 0.04 * max(abs(high), 1e-6))
    low, high = low - margin, high + margin
    if bounded:
        low = max(low, 0.0)
        high = min(high, 1.0) if metric.unit == "share" else high
    return low, high


def _place(value: float, low: float, high: float) -> float:
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 2)


def _told(value: float, metric: Metric, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f} %" if metric.unit == "share" else f"{value:{sign}.3g} {metric.unit}"


def _ticks(low: float, high: float, metric: Metric, *, signed: bool = False) -> tuple[Tick, ...]:
    factor = 100.0 if metric.unit == "share" else 1.0
    raw = factor * (high - low) / 7
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * multiple for multiple in (1, 2, 5, 10) if power * multiple >= raw)
    first, last = math.ceil(factor * low / step - 1e-9), math.floor(factor * high / step + 1e-9)
    values = [number * step for number in range(first, last + 1)]
    return tuple(Tick(_place(v / factor, low, high), f"{v:+.6g}" if signed and v else f"{v:.6g}") for v in values)
