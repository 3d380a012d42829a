"""The command in this process."""

from __future__ import annotations

from collections.abc import Callable

Command = Callable[..., tuple[int, str, str]]
"""Takes the command's arguments; returns exit code, standard output and standard error."""


def sentence(error: str) -> str:
    """Standard error from its sentence on, without the progress before it."""
    return error[max(error.find("linewise: "), 0) :]
