"""How a file's place says which part it shows, and which view of it: `{part}_{view}.png`, and nothing cleverer."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.errors import ConfigError
from pipeline.unicode_names import composed

PART_SECONDS = 60.0
"""How long a part waits for its views, unless someone says otherwise."""

_PLACES = re.compile(r"(\{part\}|\{view\}|\*)")
_MAX_STARS = 4  # each multiplies the ways in which a name can be tried
_REMEDY = "write it as {part}_{view}.png or {part}/{view}.*: * is anything within a name"


@dataclass(frozen=True)
class PartRule:
    """Groups images into parts. `parse_part_rule` makes it.

    Args:
        pattern: of the whole path below the scored folder, with `/` between folders.
        views: that a part has, in the order people named them; empty: only their number is known.
        count: how many views a part has.
        timeout_seconds: how long a part waits for the views that it misses, from when scoring had caught up with it.
    """

    pattern: str
    views: tuple[str, ...]
    count: int
    timeout_seconds: float = PART_SECONDS

    def find(self, path: str) -> tuple[str, str] | None:
        """Part and view of an image by its path below the scored folder; None: it fits no part.

        A part's name may span folders. Where a path can be read in several ways the longest view's name wins, of views
        without names the shortest.
        """
        for named, expression in self._expressions:
            if (found := expression.fullmatch(composed(path))) is not None:
                return _as_text(found["part"]), _as_text(named or found["view"])
        return None

    def missing(self, seen: Collection[str]) -> tuple[str, ...]:
        """The names of the views that are not there; none where views have no names."""
        return tuple(view for view in self.views if view not in seen)

    def missing_in_words(self, seen: Collection[str]) -> str | None:
        """What is missing, as people are told it; None: nothing."""
        if (count := self.count - len(seen)) <= 0:
            return None
        verb = "is" if count == 1 else "are"
        if not self.views:
            return f"{count} of {self.count} views {verb} missing: only {', '.join(sorted(seen))} came"
        noun = "view" if count == 1 else "views"
        return f"{noun} {', '.join(self.missing(seen))} of {', '.join(self.views)} {verb} missing"

    def ordered(self, seen: Collection[str]) -> list[str]:
        """Views in the order in which people named them; those without names by the alphabet."""
        return [view for view in self.views if view in seen] if self.views else sorted(seen)

    @cached_property
    def _expressions(self) -> list[tuple[str | None, re.Pattern[str]]]:
        if not self.views:
            return [(None, _expression(self.pattern, r"(?P<view>[^/]+?)"))]
        by_length = sorted(self.views, key=len, reverse=True)
        return [(view, _expression(self.pattern, re.escape(view))) for view in by_length]


def parse_part_rule(pattern: str, views: Sequence[str], timeout_seconds: float = PART_SECONDS) -> PartRule:
    """The rule that a user wrote: a pattern, and the names of a part's views or how many they are.

    Raises:
        ConfigError: the pattern has not one `{part}` and one `{view}` with something between them, or has other braces
            or too many stars; or the views are fewer than two, the same, or have a slash.
    """
    pattern = composed(pattern.removeprefix("./"))
    places = _PLACES.split(pattern)
    fixed = "".join(places[::2])
    wanted = "a rule with one {part} and one {view} and a character between them"
    if sorted(place for place in places[1::2] if place != "*") != ["{part}", "{view}"]:
        raise ConfigError(wanted, repr(pattern), _REMEDY)
    first, last = sorted((places.index("{part}"), places.index("{view}")))
    if not any(places[first + 1 : last : 2]):
        raise ConfigError(wanted, repr(pattern), _REMEDY)
    if any(sign in fixed for sign in "{}\\") or pattern.startswith("/") or places.count("*") > _MAX_STARS:
        wanted = f"a rule of a path below the scored folder, without other braces and with {_MAX_STARS} stars at most"
        raise ConfigError(wanted, repr(pattern), _REMEDY)
    if len(views) == 1 and views[0].isascii() and views[0].isdigit():
        names: tuple[str, ...] = ()
        count = int(views[0])
    else:
        names = tuple(map(composed, views))
        count = len(set(names))
    if count < 2 or count < len(names) or any("/" in name or not name for name in names):
        got = repr(",".join(views))
        raise ConfigError("two or more different views of a part, or how many", got, "write --views top,side,bottom")
    return PartRule(pattern, names, count, timeout_seconds)


def _expression(pattern: str, view: str) -> re.Pattern[str]:
    meant = {"{part}": "(?P<part>.+)", "{view}": view, "*": "[^/]*"}
    return re.compile("".join(meant.get(place) or re.escape(place) for place in _PLACES.split(pattern)), re.DOTALL)


def _as_text(name: str) -> str:
    """A name as text any database takes: bytes that are no UTF-8 are escaped in hex."""
    return name if name.isascii() else os.fsencode(name).decode(errors="backslashreplace")
