"""A line's threshold as a job: what others would have done lately, and a version with the one that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deploy.bundles.bundle import Bundle
from deploy.bundles.manifest import SetByHandRecord
from deploy.bundles.registry import Registry
from deploy.bundles.threshold_versions import add_with_threshold, by_hand, scoring_alike
from deploy.results.store import ResultStore
from deploy.results.threshold_effects import Limits, ScoreLevels, ThresholdEffect, score_levels, threshold_effects
from flows.progress import OnProgress, ignore_progress
from flows.threshold.request import ThresholdRequest
from pipeline.errors import ConfigError
from pipeline.settings import Settings

SHARES = (0.001, 0.005, 0.01, 0.02, 0.05)
"""Of the line's images: thresholds that reject at most so many of them are told of."""
TODAY, ASKED = "today", "asked for"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A threshold, why it is told of, and what it would have done."""

    name: str
    effect: ThresholdEffect


@dataclass(frozen=True, kw_only=True)
class ThresholdResult:
    """The line's live version, what its threshold and others would have done, and the version that was made of it.

    `choices` begin with the live version's own threshold; `made` is None where none was set.
    """

    live: Bundle
    hours: float
    choices: tuple[Choice, ...]
    made: Bundle | None = None

    @property
    def images(self) -> int:
        """How many contents the figures rest on."""
        return self.choices[0].effect.images


def run(request: ThresholdRequest, settings: Settings, _on_progress: OnProgress = ignore_progress) -> ThresholdResult:
    """Tell what thresholds would have done; make the one that is asked for live.

    Raises:
        ConfigError: no such line, none of its versions is live, or it has that threshold already.
        BundleError, StorageError: as the sentence says; what was live stays live.
    """
    registry = Registry(settings.home)
    bundle = registry.live(request.line)
    limits = Limits(bundle.manifest.threshold.reject, bundle.manifest.threshold.review)
    asked = _asked(request, limits)
    if asked == limits and not request.dry_run:
        got = f"today's, reject {limits.reject:.6g} and review {limits.review:.6g}"
        raise ConfigError("another threshold than today's", got, "name another, or leave reject out to see some")
    alike, since = scoring_alike(registry, bundle), datetime.now(UTC) - timedelta(hours=request.hours)
    with ResultStore(settings.database) as store:
        if asked is None:
            levels = score_levels(store, request.line, alike, since, SHARES)
            named = {limits: TODAY, **{found: name for found, name in _candidates(levels, limits) if found != limits}}
        else:
            named = {limits: TODAY, asked: ASKED}
        effects = threshold_effects(store, request.line, alike, since, list(named))
    choices = tuple(Choice(name=named[effect.limits], effect=effect) for effect in effects)
    made = None if asked is None or request.dry_run else _set(registry, bundle, asked, request)
    return ThresholdResult(live=bundle, hours=request.hours, choices=choices, made=made)


def _asked(request: ThresholdRequest, today: Limits) -> Limits | None:
    if request.reject is None:
        return None
    review = min(today.review, request.reject) if request.review is None else request.review
    return Limits(request.reject, review)


def _candidates(levels: ScoreLevels, today: Limits) -> Iterator[tuple[Limits, str]]:
    """Thresholds to look at, with REVIEW where it is today. Later names of equal ones count: they say more."""
    named = [(f"at most {share:.1%} of all", reject) for share, reject in zip(SHARES, levels.by_share, strict=True)]
    named += [("no known good", levels.above_good), ("every known defect", levels.lowest_defect)]
    for name, reject in named:
        if reject is not None:
            yield Limits(reject, min(today.review, reject)), name


def _set(registry: Registry, bundle: Bundle, asked: Limits, request: ThresholdRequest) -> Bundle:
    """A version with that threshold, live."""
    assert request.why is not None, "the request saw to it"
    manifest = bundle.manifest
    record = SetByHandRecord(
        set_from=manifest.version,
        at=datetime.now(UTC),
        why=request.why,
        by=request.by,
        reject_before=manifest.threshold.reject,
        review_before=manifest.threshold.review,
    )
    made = add_with_threshold(
        registry,
        bundle,
        by_hand(manifest.threshold, asked.reject, asked.review),
        promise=None,
        calibration=manifest.calibration,
        set_by_hand=record,
    )
    registry.promote(request.line, made.manifest.version)
    return made
