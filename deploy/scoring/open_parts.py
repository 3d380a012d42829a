"""Parts of several views while their images come, in any order; each is told once, complete or with what it misses.

A part is known by its name and the contents of its views, as cameras use names again: another content of a view that
is there already begins another part.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deploy.bundles.bundle import Bundle
from deploy.messages.message import written_at
from deploy.results.part_queries import latest_views, told_part
from deploy.results.records import NewPart, PartView
from deploy.results.schema import PartRow
from deploy.results.store import ResultStore
from deploy.scoring.image_result import FileStatus, ImageResult
from deploy.scoring.part_rule import PartRule
from deploy.scoring.part_tally import PartTally
from pipeline.calibration import Decision
from pipeline.unicode_names import composed

# A view that could not be read was not inspected, which is worse than a doubt and no ground to reject.
_SEVERITY = {Decision.PASS: 0, Decision.REVIEW: 1, None: 2, Decision.REJECT: 3}


@dataclass
class _Open:
    """A part that misses views; `since` is when scoring had caught up with it, None before that."""

    views: dict[str, PartView] = field(default_factory=dict)
    since: float | None = None


class OpenParts:
    """A line's parts at one bundle, which judges all of their views: their scores have one scale. For one thread.

    Args:
        rule: that groups images.
        bundle: that scores.
        store: knows the parts that were told before.
        folder: of the line below the scored one, for a plant's; empty: the scored folder is the line's.
    """

    def __init__(self, rule: PartRule, bundle: Bundle, store: ResultStore, folder: str = "") -> None:
        self.rule = rule
        self.tally = PartTally()
        self._bundle = bundle
        self._store = store
        self._prefix = f"{composed(folder)}/" if folder else ""
        self._open: dict[str, _Open] = {}
        self._first_alone = ""

    def take(self, result: ImageResult) -> list[NewPart] | None:
        """Take in an image; the parts that it ends, or None where it fits no part.

        Raises:
            StorageError: the store cannot be asked whether an image of before is of a part that was told.
        """
        found = self.rule.find(composed(result.name).removeprefix(self._prefix))
        if found is None:
            return None
        self.tally.fits = True
        (part, view), ended = found, list[NewPart]()
        if result.status is FileStatus.SKIPPED and self._was_told(part, result):
            return ended
        seen = _view(view, result)
        group = self._open.get(part)
        if group is not None and view in group.views and group.views[view].image_sha256 != seen.image_sha256:
            ended += self._end(part)  # the name is used again before all of the part came
            group = None
        if group is None:
            group = self._open[part] = _Open()
        group.views[view] = seen
        if len(group.views) >= self.rule.count:
            ended += self._end(part)
        return ended

    def told_alone(self, result: ImageResult) -> str:
        """What to say where images fit no part; equal for all of them after the first."""
        self._first_alone = self._first_alone or result.name
        views = ", ".join(self.rule.views) or f"{self.rule.count} views"
        return (
            f"images that fit no part by {self.rule.pattern} with {views} are told by themselves, such as "
            f"{self._first_alone}."
        )

    def overdue(self, now: float) -> list[NewPart]:
        """The parts that have waited long enough; call it when every image that is there was taken in."""
        for group in self._open.values():
            if group.since is None:
                group.since = now
        late = [
            part
            for part, group in self._open.items()
            if group.since is not None and now - group.since >= self.rule.timeout_seconds
        ]
        return [ended for part in late for ended in self._end(part)]

    def rest(self) -> list[NewPart]:
        """All that still miss views: nothing more comes."""
        return [ended for part in list(self._open) for ended in self._end(part)]

    def _was_told(self, part: str, result: ImageResult) -> bool:
        """Whether an image of before is of a part that was told with all of its views; counts it with its worst."""
        told = told_part(self._store, self._bundle.id, part, result.sha256 or "")
        if told is None or len(told.views_seen) < self.rule.count:
            return False
        if told.image_sha256 == result.sha256:
            self.tally.add(told)
        return True

    def _end(self, part: str) -> list[NewPart]:
        """The part, where it is news: an unreadable view is read again in each run, and no longer waits for those that
        were told with it. Written anew it is judged with them.
        """
        views = self._open.pop(part).views
        contents = {seen.image_sha256 for seen in views.values()}
        if len(views) < self.rule.count:
            if (told := self._told_whole(part, contents)) is not None:
                if told.image_sha256 in contents:
                    self.tally.add(told)  # else its worst view has been met, which counts it
                return []
            views = self._with_the_told(part, views)
        ended = self._judged(part, {name: views[name] for name in self.rule.ordered(views)})
        self.tally.add(ended)
        return [ended]

    def _with_the_told(self, part: str, views: dict[str, PartView]) -> dict[str, PartView]:
        """With the views that were told beside those that could not be read, if these are the latter, written anew."""
        told = latest_views(self._store, self._bundle.id, part)
        unread = {name for name, seen in told.items() if seen.decision is None}
        return told | views if len(told) == self.rule.count and views.keys() <= unread else views

    def _told_whole(self, part: str, contents: Collection[str | None]) -> PartRow | None:
        """The part that was told with all of its views, these among them."""
        told = [told_part(self._store, self._bundle.id, part, sha256 or "") for sha256 in contents]
        if any(each is None or len(each.views_seen) < self.rule.count for each in told):
            return None
        return told[0] if len({each.id for each in told if each is not None}) == 1 else None

    def _judged(self, part: str, views: Mapping[str, PartView]) -> NewPart:
        """The worst view decides; what is missing or could not be read was not inspected, so that nobody passes it."""
        worst = max(views.values(), key=_badness)
        missing = self.rule.missing_in_words(views)
        decision = worst.decision or Decision.REVIEW
        if missing is not None and decision is Decision.PASS:
            decision = Decision.REVIEW
        manifest = self._bundle.manifest
        return NewPart(
            line=manifest.line,
            part=part,
            bundle_id=self._bundle.id,
            bundle_version=manifest.version,
            content_id=_content_id(self._bundle.id, part, views),
            decision=decision,
            reason=_reason(missing, views, worst),
            worst_view=worst.view,
            image_path=worst.image_path,
            image_sha256=worst.image_sha256,
            score=worst.score,
            p_value=worst.p_value,
            reject_threshold=manifest.threshold.reject,
            review_threshold=manifest.threshold.review,
            views_expected=self.rule.count,
            views_seen=list(views),
            views_missing=list(self.rule.missing(views)),
            decided_at=datetime.now(UTC),
            views=tuple(views.values()),
            kind=worst.kind,
            kind_probability=worst.kind_probability,
        )


def _view(view: str, result: ImageResult) -> PartView:
    return PartView(
        view=view,
        image_path=result.location,
        image_sha256=result.sha256,
        decision=result.decision,
        score=result.score,
        p_value=result.p_value,
        reason=result.reason,
        kind=None if result.kind is None else result.kind.name,
        kind_probability=None if result.kind is None else result.kind.probability,
    )


def _badness(seen: PartView) -> tuple[int, float]:
    """What the worst view has most of; one that could not be judged stands before those with a score."""
    return _SEVERITY[seen.decision], math.inf if seen.score is None else seen.score


def _reason(missing: str | None, views: Mapping[str, PartView], worst: PartView) -> str | None:
    said = [missing] if missing is not None else []
    said += [f"view {seen.view} could not be read: {seen.reason}" for seen in views.values() if seen.decision is None]
    if worst.decision is not None and worst.reason is not None:
        said.append(f"view {worst.view}: {worst.reason}")
    return "; ".join(said) or None


def _content_id(bundle_id: str, part: str, views: Mapping[str, PartView]) -> str:
    """Equal for equal contents of the same views; of a file that could not be opened its place and time count."""
    contents = [
        (name, seen.image_sha256 or f"{seen.image_path}\n{written_at(seen.image_path)}")
        for name, seen in sorted(views.items())
    ]
    return hashlib.sha256(repr((bundle_id, part, contents)).encode()).hexdigest()
