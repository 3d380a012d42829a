"""Shares of a training run that fail, for processes of their own, which start faster without the training's imports."""

from __future__ import annotations

import os
import signal

from pipeline.errors import LineError


def refused(*_: object) -> None:
    """A user's mistake."""
    raise LineError("defective images", "none", "add some")


def killed(*_: object) -> None:
    """What the kernel does to a process without memory."""
    os.kill(os.getpid(), signal.SIGKILL)
