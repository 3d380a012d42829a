"""What the checkout declares to need."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.checkout import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(*extras: str) -> list[Requirement]:
    """The requirements that pyproject.toml declares: the core's, and the named extras' own."""
    declared = list(PROJECT["dependencies"])
    for extra in extras:
        declared += PROJECT["optional-dependencies"][extra]
    return [found for text in declared if (found := Requirement(text)).name != PROJECT["name"]]


def names(found: Iterable[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in found}


def closure(wanted: Iterable[Requirement]) -> set[str]:
    """The installed distributions that the requirements need, themselves included, on this platform."""
    waiting = [(requirement, "") for requirement in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted_extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), wanted_extra)
            if key not in seen:
                seen.add(key)
                needed = importlib.metadata.requires(requirement.name) or []
                waiting += [(Requirement(text), wanted_extra) for text in needed]
    return {name for name, _ in seen}
