"""Work in processes that can be killed: forked from one that has everything loaded, so that a kill costs little."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import LinewiseError

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.activities"])
WAIT_SECONDS = 600.0
"""For what should take seconds; a machine may be busy."""


@dataclass(frozen=True)
class Ended:
    """How work ended: done (with what it returned), refused in a sentence, broken by another exception, or killed."""

    how: Literal["done", "refused", "broke", "killed"]
    what: Any = ""


class Child:
    """A process that does one piece of work. Kill it or wait for its end.

    Args:
        work: a function of a module, called with `arguments`.
        said: the file that `say` of the child appends to.
        prepare: called in the child before the work, for limits of the process.
    """

    def __init__(
        self, work: Callable[..., Any], *arguments: Any, said: Path, prepare: Callable[[], None] | None = None
    ) -> None:
        self._pipe, theirs = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_work, args=(theirs, said, prepare, work, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._ended: Ended | None = None

    def ended(self, seconds: float = WAIT_SECONDS) -> Ended | None:
        """How it ended; None: it has not within so many seconds."""
        if self._ended is None and self._pipe.poll(max(seconds, 0.0)):
            try:
                self._ended = self._pipe.recv()
            except EOFError:
                self._ended = Ended("killed", "")
            self._process.join()
            self._pipe.close()
        return self._ended

    def result(self) -> Any:
        """What the work returned, once it is done; an AssertionError tells of any other end."""
        ended = self.ended()
        if ended is None:
            self.kill()
            raise AssertionError(f"the work goes on after {WAIT_SECONDS:.0f} s")
        assert ended.how == "done", f"the work {ended.how}: {ended.what}"
        return ended.what

    def kill(self) -> bool:
        """kill -9; False where it had ended by itself."""
        if self.ended(0.0) is None:
            self._process.kill()
        ended = self.ended()
        return ended is not None and ended.how == "killed"

    def stop(self) -> None:
        """What Ctrl-C and a service manager send."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGTERM)


def _work(
    pipe: Connection,
    said: Path,
    prepare: Callable[[], None] | None,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    said.parent.mkdir(parents=True, exist_ok=True)
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    global _said  # noqa: PLW0603  # of this process alone
    _said = os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if prepare is not None:
            prepare()
        ended = Ended("done", work(*arguments))
    except LinewiseError as error:
        ended = Ended("refused", str(error))
    except BaseException:
        ended = Ended("broke", traceback.format_exc())
    pipe.send(ended)


_said = -1


def say(word: object) -> None:
    """In a child: append a line to what it said, which survives a kill."""
    os.write(_said, f"{word}\n".encode())


def words(said: Path) -> list[str]:
    """What children said, the latest last."""
    return said.read_text().splitlines() if said.exists() else []


def wait_until(condition: Callable[[], bool], what: str, child: Child | None = None) -> None:
    """Wait for what should be soon; an AssertionError says what never was, or how the child ended instead."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        ended = child.ended(0.0) if child is not None else None
        assert ended is None, f"the work {ended.how} before {what}: {ended.what}"  # type: ignore[union-attr]
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)
