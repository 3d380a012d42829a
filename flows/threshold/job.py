"""A line's threshold as a job: what others would have done lately, and a version with the one that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deploy.bundles.bundle import Bundle
from deploy.bundles.registry import Registry
from deploy.bundles.threshold_versions import scoring_alike, set_by_hand
from deploy.results.store import ResultStore
from deploy.results.threshold_effects import (
    SHARES,
    Limits,
    ThresholdEffect,
    limits_to_look_at,
    scored_contents,
)
from flows.progress import OnProgress, ignore_progress
from flows.threshold.request import ThresholdRequest
from pipeline.errors import ConfigError
from pipeline.settings import Settings

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
        contents = scored_contents(store, request.line, alike, since)
    if asked is None:
        found = limits_to_look_at(contents.levels(SHARES), limits)
        named = {limits: TODAY, **{other: name for other, name in found if other != limits}}
    else:
        named = {limits: TODAY, asked: ASKED}
    choices = tuple(Choice(name=name, effect=contents.effect(one)) for one, name in named.items())
    made = None
    if asked is not None and not request.dry_run:
        assert request.why is not None, "the request saw to it"
        made = set_by_hand(registry, bundle, asked.reject, asked.review, by=request.by, why=request.why)
    return ThresholdResult(live=bundle, hours=request.hours, choices=choices, made=made)


def _asked(request: ThresholdRequest, today: Limits) -> Limits | None:
    if request.reject is None:
        return None
    review = min(today.review, request.reject) if request.review is None else request.review
    return Limits(request.reject, review)
