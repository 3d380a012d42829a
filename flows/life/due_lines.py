"""Which lines are due for an adaptation, and which wait for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.bundles.registry import Registry
from deploy.bundles.version_decisions import Ruling
from deploy.results.schema import VerdictRow
from deploy.results.store import ResultStore
from flows.adapt.request import AdaptRequest
from flows.gate.evidence import contents_known_to
from flows.life.line_folders import has_good_parts, quiet_for, state_of
from flows.life.line_notes import LineNote, read_note
from flows.life.readaptation import first_adaptation, next_adaptation
from flows.life.request import TendRequest
from pipeline.errors import LineError
from pipeline.held_back import is_held_back
from pipeline.likeness import UNLIKE
from pipeline.product_lines.lines import ProductLine, load_line
from pipeline.settings import Settings
from pipeline.unicode_names import composed

_MOST_TRIES = 3
"""Adaptations in a row that were killed before a line is left alone until something changes."""
_MOST_ROWS = 5000


@dataclass(frozen=True, kw_only=True)
class Due:
    """An adaptation that is due, why, and what to remember of it."""

    request: AdaptRequest
    why: str
    note: LineNote


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Why nothing is due; `again_in`: after so many seconds it may be, None: nobody knows."""

    why: str
    again_in: float | None = None


def look_at(name: str, folder: Path, request: TendRequest, settings: Settings) -> Due | Waiting:
    """Whether an adaptation of a line is due.

    Args:
        name: of its folder.
        folder: with its labelled images.
        request: says when it is.
        settings: of this process.

    Raises:
        LineError: the folder cannot be used.
        ConfigError: no line can have that name.
        BundleError: the live version is damaged, or what was decided about the line's versions.
        StorageError: registry, result store or folder cannot be read.
    """
    registry = Registry(settings.home)
    known = {composed(line): line for line in registry.lines()}
    try:
        line = load_line(folder)
    except LineError as error:
        if has_good_parts(folder):
            raise
        return Waiting(why=str(error))
    with ResultStore(settings.database) as store:
        look = _Look(known.get(name), name, line, request, settings, registry, store)
        return look.at_known() if name in known else look.at_new()


class _Look:
    """One look at one line."""

    def __init__(
        self,
        registered: str | None,
        name: str,
        line: ProductLine,
        request: TendRequest,
        settings: Settings,
        registry: Registry,
        store: ResultStore,
    ) -> None:
        self._line, self._request, self._registry, self._store = line, request, registry, store
        self._name = registered or name
        self._words: Sequence[VerdictRow] = store.verdicts(self._name, overruled=True)
        self._last_word = max((word.id for word in self._words), default=0)
        self._before = read_note(settings, name)
        self._state = state_of(line)

    def at_new(self) -> Due | Waiting:
        """A line without a version."""
        if (good := len(self._line.train_good)) < self._request.least_good:
            return Waiting(why=f"{good} good images so far, of {self._request.least_good} that a new line begins with")
        if (quiet := quiet_for(self._line)) < self._request.quiet_seconds:
            left = self._request.quiet_seconds - quiet
            return Waiting(why=f"its images came {quiet:.0f} s ago, and more may follow", again_in=left)
        if (why := self._given_up()) is not None:
            return Waiting(why=why)
        return self._due(first_adaptation(self._request, self._name, self._line.root), f"new, with {good} good images")

    def at_known(self) -> Due | Waiting:
        """A line with versions."""
        if self._registry.live_version(self._name) is None:
            return self._at_not_live()
        if (why := self._given_up()) is not None:
            return Waiting(why=why)
        newest = self._registry.versions(self._name)[-1]
        decisions = self._registry.decisions(self._name)
        last = decisions[-1] if decisions else None
        if last is not None and last.ruling is Ruling.ROLLED_BACK:
            return self._at_rolled_back(max(newest.created_at, last.at))
        words, fresh = len(self._words_since(newest.created_at)), self._has_production(newest.created_at)
        hours = self._request.every_hours
        old_enough = datetime.now(UTC) - newest.created_at >= timedelta(hours=hours)
        why = None
        if words >= self._request.new_verdicts:
            why = f"{words} new verdicts"
        elif self._before is not None and not self._before.ended:
            why = "the last adaptation did not end"
        elif fresh and self._request.drifted:
            why = "its production drifted"
        elif fresh and old_enough:
            why = "its production since the newest version"
        if why is not None:
            return self._next(why, production=fresh)
        said = f"{words} of {self._request.new_verdicts} new verdicts"
        if old_enough or self._request.drifted:
            return Waiting(why=f"{said}, and fewer than {self._request.least_production} new images of its production")
        return Waiting(why=f"{said}, and its newest version is younger than {hours:g} hours")

    def _at_rolled_back(self, since: datetime) -> Due | Waiting:
        """A person said that a version was wrong: its production alone would only make the same one again."""
        words = len(self._words_since(since))
        if words >= self._request.new_verdicts:
            return self._next(f"{words} new verdicts since it was rolled back", production=False)
        return Waiting(why=f"it was rolled back, and {words} of {self._request.new_verdicts} new verdicts came since")

    def _at_not_live(self) -> Due | Waiting:
        """A line whose versions were held, or that a person does not want live."""
        before = self._before
        if before is None:
            return Waiting(why="none of its versions is live: promote one")
        if before.ended and (before.folder, before.last_verdict) == (self._state, self._last_word):
            return Waiting(why="its version is held, and nothing changed since")
        if (why := self._given_up()) is not None:
            return Waiting(why=why)
        again = first_adaptation(self._request, self._name, self._line.root)
        return self._due(again.model_copy(update={"verdicts": True}), "changed since its version was held")

    def _next(self, why: str, *, production: bool) -> Due:
        live = self._registry.live(self._name)
        return self._due(next_adaptation(self._request, live, self._line, production=production), why)

    def _due(self, request: AdaptRequest, why: str) -> Due:
        before = self._before
        tries = before.tries + 1 if before is not None and not before.ended else 1
        note = LineNote(at=datetime.now(UTC), folder=self._state, last_verdict=self._last_word, tries=tries)
        return Due(request=request, why=why, note=note)

    def _given_up(self) -> str | None:
        """Why the same adaptation is not tried again yet; None: it may be."""
        before = self._before
        if before is None or (before.folder, before.last_verdict) != (self._state, self._last_word):
            return None
        if datetime.now(UTC) - before.at >= timedelta(hours=self._request.every_hours):
            return None
        if not before.ended and before.tries >= _MOST_TRIES:
            return f"{before.tries} adaptations did not end, and nothing changed since"
        return None if before.problem is None else f"nothing changed since it failed: {before.problem}"

    def _words_since(self, since: datetime) -> list[VerdictRow]:
        """What people said since a version; of verdicts that were imported later their own time is earlier."""
        before = self._before
        if before is not None and before.ended and before.at >= since:
            return [word for word in self._words if word.id > before.last_verdict]
        return [word for word in self._words if word.said_at > since]

    def _has_production(self, since: datetime) -> bool:
        """Whether enough images came since that are still there and that no version knows."""
        known = contents_known_to(record.manifest for record in self._registry.versions(self._name) if record.manifest)
        contents = {
            row.image_sha256
            for row in self._store.first_scored(self._name, since, limit=_MOST_ROWS)
            if row.image_sha256 is not None
            and row.image_sha256 not in known
            and not is_held_back(row.image_sha256)
            and not (row.reason or "").startswith(UNLIKE)
            and Path(row.image_path).is_file()
        }
        return len(contents) >= self._request.least_production
