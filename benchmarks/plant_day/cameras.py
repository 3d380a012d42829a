"""Cameras that write files all day, and a receiver that is told of each result."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plant_day.products import Product, encoded

DEFECTIVE_SHARE = 0.15


@dataclass(frozen=True)
class Picture:
    """What a camera wrote: where, when (this machine's clock), what it shows and under which light."""

    line: str
    path: Path
    written_at: float
    defective: bool
    gain: float


@dataclass
class Mailbox:
    """What the receiver of messages was told: each message's content, when it came first, and how often it came."""

    first: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    repeated: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _contents: set[str] = field(default_factory=set)

    def take(self, body: bytes) -> None:
        """A message came."""
        message = json.loads(body)
        with self._lock:
            self.repeated += message["id"] in self.first
            self.first.setdefault(message["id"], (time.time(), message))
            self._contents.add(message["image_sha256"])  # None where it could not be read, which is of no picture

    def messages(self) -> list[tuple[float, dict[str, Any]]]:
        """Those that came, each once, the first one first."""
        with self._lock:
            return list(self.first.values())

    def knows(self, content: str) -> bool:
        """Whether a result of that content was told."""
        return content in self._contents


class Camera:
    """Writes pictures of a line into its folder until it is stopped.

    Args:
        product: whose parts it sees.
        folder: of the line.
        mailbox: a name of a ring is used again once its result was told, as by a controller that waits for it.
        seed: of what comes when.
        a_second: pictures.
        ring: file names that are used in turn; None: each picture has its own.
    """

    def __init__(
        self, product: Product, folder: Path, mailbox: Mailbox, *, seed: int, a_second: float, ring: int | None = None
    ) -> None:
        self.line, self.gain = product.line, 1.0
        self.written: dict[str, Picture] = {}
        self._product, self._folder, self._mailbox, self._ring = product, folder, mailbox, ring
        self._rng, self._pause, self._stopped = np.random.default_rng(seed), 1 / a_second, threading.Event()
        self._last: dict[Path, str] = {}
        self._thread = threading.Thread(target=self._run, name=f"camera of {self.line}")

    def start(self) -> None:
        """Begin to write."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def stop(self) -> None:
        """Write no more."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(self._pause):
            path = self._folder / f"{number % self._ring if self._ring else number:06}.png"
            if path in self._last and not self._mailbox.knows(self._last[path]):
                continue
            self._write(path)
            number += 1

    def _write(self, path: Path) -> None:
        defective, gain = bool(self._rng.random() < DEFECTIVE_SHARE), self.gain
        content = encoded(self._product.picture(self._rng, defective=defective, gain=gain))
        sha256 = hashlib.sha256(content).hexdigest()
        part = path.with_suffix(".part")
        part.write_bytes(content)
        part.rename(path)
        self._last[path] = sha256
        self.written[sha256] = Picture(self.line, path, time.time(), defective, gain)


def wait_for(happened: Callable[[], bool], what: str, seconds: float) -> None:
    """Look again and again.

    Raises:
        TimeoutError: it did not happen in so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)
