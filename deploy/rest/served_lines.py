"""The lines of a server, each at its live bundle, for requests that come in many threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.bundles.bundle import Bundle
from deploy.bundles.registry import Registry
from deploy.engine.devices import ResolvedDevice
from deploy.scoring.live_lines import LiveLine, LiveLines
from deploy.scoring.worker import ScoringWorker
from pipeline.errors import ConfigError, LinewiseError


@dataclass(eq=False)
class ServedLine:
    """A line at one bundle. `in_use` counts the requests that have not let go of it."""

    worker: ScoringWorker
    in_use: int = 0

    @property
    def bundle(self) -> Bundle:
        """The bundle that scores."""
        return self.worker.bundle


class ServedLines:
    """Opens lines when they are first asked for, and follows promotions. For any number of threads.

    A request holds the bundle that it began with; a bundle that was replaced is closed once no request holds it. While
    a line is opened, requests for other lines wait: some tenths of a second.

    Args:
        registry: where the lines are live.
        device: where all of them run.
        only: names of the lines that are served; empty: all that are registered, also later.
        worker_of: makes what scores an opened line.
    """

    def __init__(
        self,
        registry: Registry,
        device: ResolvedDevice,
        *,
        only: Collection[str],
        worker_of: Callable[[LiveLine], ScoringWorker],
    ) -> None:
        self._live = LiveLines(registry, device)
        self._only = frozenset(only)
        self._worker_of = worker_of
        self._lock = threading.Lock()  # guards all of it
        self._current: dict[str, ServedLine] = {}
        self._served: dict[str, ServedLine] = {}  # by the bundle's id, also those that are only held any more
        self._unusable: dict[str, LinewiseError] = {}

    def names(self) -> list[str]:
        """Names of the lines that are served, sorted.

        Raises:
            StorageError: the registry cannot be listed, and never could.
        """
        with self._lock:
            return sorted(self._names())

    @property
    def problems(self) -> list[str]:
        """What kept promoted bundles from being used, in sentences."""
        with self._lock:
            return list(self._live.problems)

    def open_all(self) -> None:
        """Open what is served by name.

        Raises:
            ConfigError, BundleError: as `using`.
        """
        for name in sorted(self._only):
            with self.using(name):
                pass

    @contextmanager
    def using(self, line: str) -> Iterator[ServedLine]:
        """The line at what is live now, which stays open meanwhile.

        Raises:
            ConfigError: no such line is served, or no version of it is live.
            BundleError: the live bundle is damaged.
        """
        with self._lock:
            served = self._at_live(line)
            served.in_use += 1
        try:
            yield served
        finally:
            with self._lock:
                served.in_use -= 1
                self._let_go(served)

    def _names(self) -> Collection[str]:
        return self._only or self._live.names()

    def _at_live(self, line: str) -> ServedLine:
        if (current := self._current.get(line)) is not None:
            if (promoted := self._live.promoted(current.bundle)) is None:
                return current
            begun = self._begin(promoted)
            self._let_go(current)
            return begun
        if line not in (names := self._names()):
            raise _unknown(line, names)
        if not self._live.is_untried(line):
            raise self._unusable[line].with_traceback(None)  # what kept it from being opened is still so
        try:
            return self._begin(self._live.open(line))
        except LinewiseError as error:
            self._unusable[line] = error
            raise

    def _begin(self, live: LiveLine) -> ServedLine:
        if (served := self._served.get(live.bundle.id)) is None:  # else live again while requests still hold it
            served = self._served[live.bundle.id] = ServedLine(self._worker_of(live))
        self._current[live.line] = served
        return served

    def _let_go(self, served: ServedLine) -> None:
        bundle = served.bundle
        if served.in_use == 0 and self._current[bundle.manifest.line] is not served:
            self._live.close(bundle)
            del self._served[bundle.id]


def _unknown(line: str, names: Collection[str]) -> ConfigError:
    known = ", ".join(sorted(names)) or "there is none yet"
    return ConfigError(f"a line that is served ({known})", repr(line[:100]), "name one of these, or adapt it first")
