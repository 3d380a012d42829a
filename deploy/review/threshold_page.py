"""The page of a line's threshold: what another one would have done to the last week, and a version with it.

What a line scored is read once a minute at most, and every threshold that is tried is told from memory.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from deploy.bundles.bundle import Bundle
from deploy.bundles.registry import Registry
from deploy.bundles.threshold_versions import by_hand, scoring_alike, set_by_hand
from deploy.reports.histogram import Histogram, histogram
from deploy.results.schema import ResultRow
from deploy.results.store import ResultStore
from deploy.results.threshold_effects import (
    LARGEST_SCORE,
    SHARES,
    DecidedOtherwise,
    Limits,
    ScoredContents,
    ThresholdEffect,
    limits_to_look_at,
    scored_contents,
)
from pipeline.calibration import Decision
from pipeline.unicode_names import one_line

HOURS = 168
MOST_CHANGED = 6
"""Images decided otherwise that are shown."""
_KEPT_SECONDS = 60.0
_LINES = 8  # kept at a time: a week of one may be millions of scores
_LONGEST_REASON = 500


class Tried(NamedTuple):
    """A threshold that is looked at, and why it is not one, in a sentence; empty: it is."""

    limits: Limits
    problem: str = ""


@dataclass(frozen=True)
class Changed:
    """An image that the tried threshold decides otherwise than the line's, before and after."""

    result: ResultRow
    before: Decision
    after: Decision


class _Known(NamedTuple):
    bundle: Bundle
    contents: ScoredContents
    read_at: float


class Thresholds:
    """What thresholds would have done. Its methods may be called from any thread.

    Args:
        store: the results and verdicts.
        registry: the lines' versions.
    """

    def __init__(self, store: ResultStore, registry: Registry) -> None:
        self._store, self._registry = store, registry
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def about(self, line: str, reject: str, review: str) -> dict[str, Any]:
        """All that the page shows, of limits as somebody typed them; empty: today's.

        Raises:
            ConfigError: the line has no live version.
            BundleError, StorageError: as the sentence says.
        """
        known = self._read(line)
        today = _limits_of(known.bundle)
        tried = tried_limits(reject, review, today)
        chart = self._chart(known, tried.limits)
        levels = known.contents.levels(SHARES)
        others = {limits: name for limits, name in limits_to_look_at(levels, today) if limits != today}
        return {
            **self._effects(known, tried, chart),
            "others": sorted(
                ((name, known.contents.effect(limits)) for limits, name in others.items()),
                key=lambda other: -other[1].limits.reject,
            ),
            "low": min(chart.axis.low, today.reject),
            "high": max(chart.axis.high, tried.limits.reject),
        }

    def effects(self, line: str, reject: str, review: str) -> dict[str, Any]:
        """The part of the page that changes with the threshold. Raises as `about` does."""
        known = self._read(line)
        tried = tried_limits(reject, review, _limits_of(known.bundle))
        return self._effects(known, tried, self._chart(known, tried.limits))

    def keep(self, line: str, version: str, form: Mapping[str, str], *, by: str) -> str:
        """Make a version with the limits and the reason of a form live, in place of the version that was looked at.

        Returns:
            Why nothing was set, in a sentence; empty: it is live.

        Raises:
            ConfigError, BundleError, StorageError: as the sentence says; what was live stays live.
        """
        bundle = self._registry.live(line)
        today, why = _limits_of(bundle), one_line(" ".join(form.get("why", "").split()))[:_LONGEST_REASON]
        limits, problem = tried_limits(form.get("reject", ""), form.get("review", ""), today)
        if problem:
            return problem
        if bundle.manifest.version != version:
            return f"{bundle.manifest.version} went live meanwhile: look at what a threshold does to its scores."
        if limits == today:
            return "That is today's threshold."
        if not why:
            return "Say why: it is kept with the version."
        set_by_hand(self._registry, bundle, limits.reject, limits.review, by=by, why=why)
        return ""

    def _effects(self, known: _Known, tried: Tried, chart: Histogram) -> dict[str, Any]:
        today, contents = _limits_of(known.bundle), known.contents
        compared: list[tuple[str, ThresholdEffect]] = [("today", contents.effect(today))]
        if tried.limits != today:
            compared.append(("tried", contents.effect(tried.limits)))
        changes, changed = contents.decided_otherwise(today, tried.limits, MOST_CHANGED)
        return {
            "today": today,
            "tried": tried.limits,
            "problem": tried.problem,
            "compared": compared,
            "version": known.bundle.manifest.version,
            "histogram": chart,
            "changed": self._changed(changed),
            "changes": changes,
            "hours": HOURS,
        }

    @staticmethod
    def _chart(known: _Known, limits: Limits) -> Histogram:
        threshold = by_hand(known.bundle.manifest.threshold, limits.reject, limits.review)
        return histogram(known.contents.scores_by_decision(limits), threshold)

    def _changed(self, found: Sequence[DecidedOtherwise]) -> list[Changed]:
        with self._store.session() as session:
            rows = [(session.get(ResultRow, one.result), one) for one in found]
        return [Changed(row, one.before, one.after) for row, one in rows if row is not None]

    def _read(self, line: str) -> _Known:
        known = self._known.get(line)
        live = self._registry.live_version(line)
        if known is not None and known.bundle.manifest.version == live:
            if time.monotonic() < known.read_at + _KEPT_SECONDS:
                return known
            bundle = known.bundle
        else:
            bundle = self._registry.live(line)
        alike, since = scoring_alike(self._registry, bundle), datetime.now(UTC) - timedelta(hours=HOURS)
        known = _Known(bundle, scored_contents(self._store, line, alike, since), time.monotonic())
        with self._lock:
            self._known[line] = known
            self._known.move_to_end(line)
            while len(self._known) > _LINES:
                self._known.popitem(last=False)
        return known


def tried_limits(reject: str, review: str, today: Limits) -> Tried:
    """Limits as somebody typed them. Without review it stays, or comes down with reject."""
    if not reject.strip():
        return Tried(today)
    numbers = [_number(text) for text in (reject, review) if text.strip()]
    if None in numbers:
        return Tried(today, "REJECT and REVIEW are numbers, on the scale of this version's scores.")
    to_reject, *to_review = (number for number in numbers if number is not None)
    if reject.strip() == f"{today.reject:.6g}":  # as the form shows it: nobody moved it
        to_reject = today.reject
    limits = Limits(to_reject, to_review[0] if to_review else min(today.review, to_reject))
    if limits.review > limits.reject:
        return Tried(today, "REVIEW is at most REJECT: equal to it, nothing is for a person to look at.")
    return Tried(limits)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= LARGEST_SCORE else None


def _limits_of(bundle: Bundle) -> Limits:
    threshold = bundle.manifest.threshold
    return Limits(threshold.reject, threshold.review)
