"""What is fuzzed: a surface makes an input of a seed, and looks at what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any


class PassedInSilenceError(Exception):
    """A damaged input was taken for a good one."""


@dataclass(frozen=True)
class Input:
    """A hostile input.

    Args:
        files: what it writes below its folder, by path.
        done: how it came to be, in words.
        facts: what the surface needs to judge it by; made of the seed as all the rest.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    done: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the files. A name that the file system refuses is left out."""
        for name, content in self.files.items():
            path = folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except (OSError, ValueError):
                continue


@dataclass(frozen=True)
class Surface:
    """A way in for what others wrote.

    Args:
        name: what findings call it.
        share: of all inputs.
        make: the input of a seed.
        look: reads the input from its folder and says what became of it in a word ("read"). A `LinewiseError` is a
            refusal, `PassedInSilenceError` and every other exception a finding.
    """

    name: str
    share: float
    make: Callable[[Random], Input]
    look: Callable[[Input, Path], str]
